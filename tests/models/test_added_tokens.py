"""Added tokens: ids as in transformers, kept by saving, refused where they cannot be honoured."""

import json
from pathlib import Path

import pytest

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import added_tokens
from bert_paddle.models.tokenizer import load_tokenizer
from bert_paddle.pretrain.create.added_token_encoder import AddedTokenEncoder, make_encoder

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "reference" / "added_tokens.json").read_text("utf-8")
)
VOCAB, TEXTS, FOLDERS = REFERENCE["vocab"], REFERENCE["texts"], REFERENCE["folders"]
NEW = len(VOCAB)
IDS = {name: folder["fast"] for name, folder in FOLDERS.items()}
# transformers 5 overlooks there that the added token is special, so that its case counts: versions
# 4 and the Python tokenizer do not.
for index, slow_ids in FOLDERS["added and special"]["slow"].items():
    if TEXTS[int(index)] != "<URL> the [name]":  # the Python tokenizer lower-cases special tokens
        IDS["added and special"][int(index)] = slow_ids


def write_folder(folder: Path, files: dict) -> Path:
    """A model folder's tokenizer files, as tests/reference/added_tokens.py writes them."""
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n", encoding="utf-8")
    files = {"tokenizer_config": {}} | files
    files["tokenizer_config"] = {"do_lower_case": True} | files["tokenizer_config"]
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", FOLDERS)
def test_ids_equal_transformers_before_and_after_saving(tmp_path, name):
    loaded = load_tokenizer(write_folder(tmp_path / "model", FOLDERS[name]["files"]))
    for text, expected in zip(TEXTS, IDS[name], strict=True):
        assert loaded.tokenize_to_ids([text]) == [expected], text
    assert loaded.tokenize_to_ids(TEXTS) == IDS[name]
    (tmp_path / "saved").mkdir()
    loaded.save(tmp_path / "saved")
    again = load_tokenizer(tmp_path / "saved")
    assert again.tokenize_to_ids(TEXTS) == IDS[name]
    assert (again.vocab, again.added_tokens) == (loaded.vocab, loaded.added_tokens)


@pytest.mark.parametrize("name", FOLDERS)
def test_saved_files_alone_give_the_ids_in_the_rust_library(tmp_path, name):
    from tokenizers import Tokenizer as RustTokenizer

    loaded = load_tokenizer(write_folder(tmp_path, FOLDERS[name]["files"]))
    loaded.save_tokenizer_json(tmp_path)
    rust = RustTokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text, expected in zip(TEXTS, IDS[name], strict=True):
        assert rust.encode(text, add_special_tokens=False).ids == expected, text


@pytest.mark.parametrize("name", FOLDERS)
def test_the_encoder_of_pretraining_gives_the_same_ids(tmp_path, name):
    loaded = load_tokenizer(write_folder(tmp_path, FOLDERS[name]["files"]))
    encoder = make_encoder(loaded)
    assert isinstance(encoder, AddedTokenEncoder) == bool(loaded.added_tokens)
    # [MASK] and the like in running text are ordinary words there.
    rows = [i for i, text in enumerate(TEXTS) if "[MASK]" not in text]
    encoded = encoder.encode([TEXTS[i] for i in rows])
    ends = encoded.offsets.tolist()
    ids = [encoded.ids[a:b].tolist() for a, b in zip(ends, ends[1:], strict=False)]
    assert ids == [IDS[name][i] for i in rows]
    assert len(encoded.starts) == len(encoded.ids) == ends[-1]
    for token, start in zip(encoded.ids, encoded.starts, strict=True):
        assert start != loaded.vocab[token].startswith("##")


@pytest.mark.slow  # imports all of PaddleNLP
def test_paddlenlp_loads_the_saved_folder_with_the_same_ids(tmp_path):
    from bert_paddle.models import paddlenlp_bert

    paddlenlp_bert.bert_module()
    from paddlenlp.transformers.bert.tokenizer import BertTokenizer

    # PaddleNLP has no flags such as single_word, and lower-cases special tokens in a text.
    for name in ("own, tokenizer_config", "own and new", "added_tokens.json", "two words"):
        folder = tmp_path / name
        loaded = load_tokenizer(write_folder(folder, FOLDERS[name]["files"]))
        loaded.save(folder)
        theirs = BertTokenizer.from_pretrained(str(folder))
        for i in (0, 1, 2, 4, 5, 6, 9, 11, 12):
            ids = theirs(TEXTS[i], add_special_tokens=False)["input_ids"]
            assert ids == IDS[name][i], (name, TEXTS[i])


def test_folders_without_added_tokens_are_saved_as_before(tmp_path):
    loaded = load_tokenizer(write_folder(tmp_path / "model", {}))
    (tmp_path / "saved").mkdir()
    loaded.save(tmp_path / "saved")
    names = sorted(path.name for path in (tmp_path / "saved").iterdir())
    assert names == ["tokenizer_config.json", "vocab.txt"]
    assert "additional_special_tokens" not in (
        (tmp_path / "saved" / "tokenizer_config.json").read_text()
    )


def test_saving_replaces_the_added_tokens_of_an_earlier_tokenizer(tmp_path):
    earlier = load_tokenizer(write_folder(tmp_path / "a", {"added_tokens": {"<a>": NEW}}))
    later = load_tokenizer(write_folder(tmp_path / "b", {}))
    (tmp_path / "saved").mkdir()
    for saved in (earlier, later):
        saved.save(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved").added_tokens == ()


def test_new_tokens_count_as_the_tokenizers_tokens(tmp_path):
    loaded = load_tokenizer(write_folder(tmp_path, {"added_tokens": {"<b>": NEW, "<a>": NEW + 1}}))
    assert len(loaded) == NEW + 2 and loaded.vocab[NEW:] == ["<b>", "<a>"]
    assert "2 added or special token(s) kept whole: <b>, <a>" in loaded.messages[0]
    added_tokens.check_embeddings(loaded.added_tokens, NEW + 2, tmp_path)
    with pytest.raises(WeightsError, match=rf"'<a>' has the id {NEW + 1}, but the model has"):
        added_tokens.check_embeddings(loaded.added_tokens, NEW + 1, tmp_path)


def decoder(**tokens) -> dict:
    return {"tokenizer_config": {"added_tokens_decoder": tokens}}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"added_tokens": {"x": NEW + 1}}, f"'x' as id {NEW + 1}, but the vocabulary has {NEW}"),
        ({"added_tokens": {"x": 2}}, r"id 2 is '\[NAME\]'.*line 3 of vocab.txt"),
        ({"added_tokens": {"cat": NEW}}, f"'cat' as id {NEW}, but the vocabulary has it as id"),
        ({"added_tokens": {"x": "9"}}, "the id of the added token 'x' is '9'"),
        ({"added_tokens": {"x": -1}}, "the id of the added token 'x' is -1"),
        ({"added_tokens": {"": NEW}}, "added_tokens.json: an added token is ''"),
        (
            {"added_tokens": {"x": NEW}, "tokenizer_json": {}}
            | decoder(**{str(NEW + 1): {"content": "x"}}),
            f"'x' is id {NEW + 1} in tokenizer_config.json and {NEW} in added_tokens.json",
        ),
        (decoder(a={"content": "x"}), "added_tokens_decoder is 'a'"),
        (decoder(**{str(NEW): {"content": "x", "lstrip": 1}}), "an added token's flags"),
        ({"tokenizer_config": {"added_tokens_decoder": [1]}}, r"added_tokens_decoder is \[1\]"),
        ({"tokenizer_config": {"additional_special_tokens": "x"}}, "additional_special_tokens is"),
        ({"special_tokens_map": {"additional_special_tokens": [3]}}, "an added token is 3"),
        ({"special_tokens_map": {"cls_token": "<s>"}}, r"cls_token is '<s>' .* not \[CLS\]"),
        ({"tokenizer_config": {"unk_token": {"content": "<unk>"}}}, "unk_token is '<unk>'"),
    ],
)
def test_contradictions_are_refused_by_name(tmp_path, files, message):
    write_folder(tmp_path, files)
    with pytest.raises(WeightsError, match=message) as caught:
        load_tokenizer(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_tokens_of_tokenizer_json(tmp_path):
    content = {
        "model": {"type": "WordPiece", "vocab": {token: i for i, token in enumerate(VOCAB)}},
        "added_tokens": [
            {"id": VOCAB.index("[PAD]"), "content": "[PAD]", "special": True, "normalized": False},
            {"id": NEW, "content": "<new>", "special": False, "normalized": True},
        ],
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    loaded = load_tokenizer(tmp_path)
    expected = [VOCAB.index("the"), NEW, VOCAB.index("cat")]
    assert loaded.tokenize_to_ids(["the<NEW>cat"]) == [expected]
    assert [token.content for token in loaded.added_tokens] == ["<new>"]
