"""Small files that ask for much work or memory are refused before it is done."""

import gzip
import json
import re
from pathlib import Path

import pytest

from bert_paddle.common import atomic_files, config_file, limits, read_files
from bert_paddle.common.errors import DataError, UserError, WeightsError
from bert_paddle.glue.custom import files
from bert_paddle.models import model_config, tokenizer_files, vocabulary
from bert_paddle.pretrain.create import compressed_files
from bert_paddle.training import model_card

SECURITY = Path(__file__).parents[2] / "docs" / "SECURITY.md"


def test_the_document_lists_every_limit():
    rows = re.findall(r"^\| `BERT_PADDLE_MAX_(\w+)` \| ([\d,]+) \|", SECURITY.read_text(), re.M)
    listed = {name: int(value.replace(",", "")) for name, value in rows}
    assert listed == {name: limit.default for name, limit in limits.LIMITS.items()}


@pytest.mark.parametrize("text", ["0", "-1", "1e6", "many", "²", "9" * 30])
def test_a_variable_that_is_no_limit(monkeypatch, text):
    monkeypatch.setenv("BERT_PADDLE_MAX_COLUMNS", text)
    with pytest.raises(UserError, match="BERT_PADDLE_MAX_COLUMNS must be a positive number"):
        limits.limit("COLUMNS")


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (model_config.read_json_object, "JSON_BYTES"),
        (read_files.read_json_object, "JSON_BYTES"),
        (tokenizer_files._read_json, "JSON_BYTES"),
        (vocabulary.read_vocab, "VOCABULARY_BYTES"),
    ],
)
def test_sizes(tmp_path, monkeypatch, read, name):
    (tmp_path / "f").write_text('{"a": "1234567890"}')
    monkeypatch.setenv(f"BERT_PADDLE_MAX_{name}", "10")
    with pytest.raises((DataError, WeightsError), match=f"set BERT_PADDLE_MAX_{name}"):
        read(tmp_path / "f")
    if name == "JSON_BYTES":
        monkeypatch.setenv(f"BERT_PADDLE_MAX_{name}", "100")
        assert read(tmp_path / "f") == {"a": "1234567890"}


def test_an_endless_file(tmp_path):
    (tmp_path / "config.json").symlink_to("/dev/zero")
    with pytest.raises(WeightsError, match="config.json is not a regular file"):
        model_config.read_json_object(tmp_path / "config.json")


def test_manifest_with_many_names_of_one_file(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("x")
    monkeypatch.setenv("BERT_PADDLE_MAX_MANIFEST_FILES", "3")
    entry = {"bytes": 1, "sha256": atomic_files.sha256(tmp_path / "a")}
    for count in (3, 4):
        names = ["./" * i + "a" for i in range(count)]
        content = {"files": dict.fromkeys(names, entry)}
        (tmp_path / "manifest.json").write_text(json.dumps(content))
        if count == 3:
            assert atomic_files.check_manifest(tmp_path, "manifest.json", ()) is None
        else:
            with pytest.raises(DataError, match="4 files in its manifest or more, and 3 are"):
                atomic_files.check_manifest(tmp_path, "manifest.json", ())


# 25 lines; the last one has 9**24 keys.
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 25)
)


def test_model_card_with_merge_keys():
    text = f"---\n{MERGES}---\n\nbody\n"
    assert model_card.split_front_matter(text) == ({}, "\nbody\n")
    assert model_card.split_front_matter("---\ntags: [a]\n---\nbody") == ({"tags": ["a"]}, "body")


def test_model_card_with_long_metadata(monkeypatch):
    monkeypatch.setenv("BERT_PADDLE_MAX_YAML_BYTES", "20")
    assert model_card.split_front_matter(f"---\na: {'b' * 20}\n---\nbody")[0] == {}
    assert model_card.split_front_matter(f"---\na: {'b' * 10}\n---\nbody")[0] == {"a": "b" * 10}


def test_settings_file(tmp_path, monkeypatch):
    (tmp_path / "s.yaml").write_text("seed: 1\n" * 10)
    monkeypatch.setenv("BERT_PADDLE_MAX_YAML_BYTES", "50")
    with pytest.raises(ValueError, match="80 bytes of YAML or more, and 50 are allowed"):
        config_file.compose(tmp_path / "s.yaml")


def test_columns(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    names = [f"c{i}" for i in range(200_000)]
    path.write_text(",".join(names) + "\n" + ",".join(names[::-1]) + "\n")
    with pytest.raises(DataError, match="t.csv has 200,000 columns or more, and 10,000 are"):
        files.open_table(str(path), files.Reading())
    monkeypatch.setenv("BERT_PADDLE_MAX_COLUMNS", "300000")
    # Comparing each name with each other would take an hour.
    assert len(files.open_table(str(path), files.Reading()).columns) == 200_000


def test_text_that_expands(tmp_path, monkeypatch):
    path = tmp_path / "t.txt.gz"
    path.write_bytes(gzip.compress(bytes(1 << 20)))
    monkeypatch.setattr(compressed_files, "_SMALL_BYTES", 1 << 19)
    with (
        pytest.raises(DataError, match="bytes for each byte of the file or more, and 200"),
        compressed_files.open_bytes(path) as file,
    ):
        while file.read(1 << 16):
            pass
    monkeypatch.setenv("BERT_PADDLE_MAX_EXPANSION", "2000")
    with compressed_files.open_bytes(path) as file:
        assert len(file.read(1 << 21)) == 1 << 20


@pytest.mark.parametrize("content", ['[{"text": "a"}, {"text": "b"}]', '{"text": ["a", "b"]}'])
def test_json_rows_that_are_read_as_a_whole(tmp_path, monkeypatch, content):
    path = tmp_path / "t.json"
    path.write_text(content)
    monkeypatch.setenv("BERT_PADDLE_MAX_JSON_BYTES", "19")
    with pytest.raises(DataError, match="and 19 are allowed: .* or give one object per line"):
        files.open_table(str(path), files.Reading())
    monkeypatch.setenv("BERT_PADDLE_MAX_JSON_BYTES", "100")
    rows = files.open_table(str(path), files.Reading()).rows
    assert [row["text"] for _, row in rows] == ["a", "b"]
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a"}\n' * 100)
    assert len(list(files.open_table(str(path), files.Reading()).rows)) == 100
