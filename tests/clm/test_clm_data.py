"""Texts read from every format, their rows of tokens, packing, what is predicted."""

import json

import numpy as np
import pytest
import tiny_gpt2
from hypothesis import given
from hypothesis import strategies as st

from bert_paddle.clm.args import ClmArgs
from bert_paddle.clm.dataset import TextDataset, encode_texts, make_dataset, pack
from bert_paddle.clm.length_table import describe_lengths
from bert_paddle.clm.load import read_data
from bert_paddle.clm.texts import read_texts
from bert_paddle.common.errors import DataError
from bert_paddle.common.run_log import RunLog
from bert_paddle.models.byte_level_bpe import load_bpe_tokenizer

TEXTS = ["The cat, sat.", 'She said "no".', "中文 and 😀"]


@pytest.fixture(scope="module")
def tokenizer():
    return load_bpe_tokenizer(tiny_gpt2.HF_DIR)


def read(path, tokenizer, **flags) -> list[str]:
    return read_texts(str(path), ClmArgs(**flags), tokenizer, RunLog(active=False)).texts


FILES = {
    "a.csv": 'id,text\n1,"The cat, sat."\n2,"She said ""no""."\n3,中文 and 😀\n',
    "a.tsv": 'id\ttext\n1\tThe cat, sat.\n2\tShe said "no".\n3\t中文 and 😀\n',
    "a.jsonl": "".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate(TEXTS)),
    "a.json": json.dumps([{"text": t} for t in TEXTS]),
    "a.txt": 'The cat, sat.\r\nShe said "no".\n\n中文 and 😀',
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_texts(tmp_path, tokenizer, name):
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + FILES[name].encode())
    assert read(path, tokenizer) == TEXTS


def test_a_named_column_and_empty_texts(tmp_path, tokenizer, capsys):
    path = tmp_path / "bios.csv"
    path.write_text("text,bio\nx,born in Ghent\nx,\nx,  \nx,moved\n", encoding="utf-8")
    args = ClmArgs(text_column="bio")
    texts = read_texts(str(path), args, tokenizer, RunLog())
    assert texts.texts == ["born in Ghent", "moved"]
    notes = capsys.readouterr().err
    assert "2 texts in the column 'bio'; 2 empty row(s) dropped" in notes
    assert "'born in Ghent'" in notes
    lines = tmp_path / "a.jsonl"
    lines.write_text('{"bio": null}\n{"bio": "moved"}\n')
    assert read(lines, tokenizer) == ["moved"]


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        ("a,b\n1,2\n", {}, "which column is the text.*a, b"),
        ("a,b\n1,2\n", {"text_column": "bio"}, "has no column 'bio'; its columns are 'a, b'"),
        ("text,b\n,2\n ,3\n", {}, "all 2 texts are empty"),
        ("text,b\nfine,1\nx <|pad|> y,2\n", {}, r"x.csv:3: the text contains <\|pad\|>"),
        ('text,b\n"open,2\n', {}, "x.csv:2: unbalanced quotation marks"),
    ],
)
def test_unusable_files_are_refused(tmp_path, tokenizer, content, flags, message):
    path = tmp_path / "x.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read(path, tokenizer, **flags)


def test_rows_begin_with_bos_and_end_with_eos_unless_they_are_cut(tokenizer):
    bos, eos = tokenizer.id_of("bos"), tokenizer.id_of("eos")
    whole = tokenizer.encode_texts(["The cat sat on a mat"])[0]
    rows, lengths = encode_texts(["The cat sat on a mat"], tokenizer, 100)
    assert rows[0].tolist() == [bos, *whole, eos]
    rows, lengths = encode_texts(["The cat sat on a mat"], tokenizer, 5)
    assert rows[0].tolist() == [bos, *whole][:5] and lengths.tolist() == [len(whole) + 2]


def test_every_token_but_a_texts_first_is_predicted_and_no_padding():
    texts = [np.array(t, np.int32) for t in ([5, 6, 7, 8], [5, 9], [5, 6, 6])]
    alone = make_dataset(texts, 0, 8, packing=False, separate=True)
    batch = alone.batch(np.array([0, 1]))
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8], [5, 9, 0, 0]]
    assert batch["predicted_positions"].tolist() == [0, 1, 2, 4]
    assert batch["labels"].tolist() == [6, 7, 8, 9]
    assert "text_numbers" not in batch and alone.batch(np.array([], int)) == {}
    packed = TextDataset(texts, [[0, 1], [2]], 0)
    batch = packed.batch(np.array([0, 1]))
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 5, 9], [5, 6, 6, 0, 0, 0]]
    assert batch["labels"].tolist() == [6, 7, 8, 9, 6, 6]
    assert batch["text_numbers"].tolist() == [[0, 0, 0, 0, 1, 1], [0, 0, 0, -1, -1, -1]]
    assert batch["position_ids"][0].tolist() == [0, 1, 2, 3, 0, 1]
    assert packed.predicted_tokens == alone.predicted_tokens == 6
    across = TextDataset(texts, [[0, 1], [2]], 0, separate=False).batch(np.array([0]))
    assert "text_numbers" not in across and across["labels"].tolist() == [6, 7, 8, 9]
    assert packed.fingerprint() != TextDataset(texts, [[0, 1], [2]], 0, False).fingerprint()


def test_a_batch_has_no_token_types_and_token_0_is_a_token():
    """PaddleNLP's tokenizer adds token_type_ids by default, and its loss leaves out token 0."""
    texts = [np.array(t, np.int32) for t in ([5, 0, 7], [5, 0])]
    batch = make_dataset(texts, 0, 8, packing=False, separate=True).batch(np.array([0, 1]))
    assert batch.keys() == {"input_ids", "predicted_positions", "labels"}
    assert batch["labels"].tolist() == [0, 7, 0]  # of the second text, too, whose padding is 0


@given(st.lists(st.integers(1, 16), max_size=60))
def test_packing_keeps_every_text_once_and_fills_rows(lengths):
    rows = pack(np.array(lengths, np.int64), 16)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    sums = [sum(lengths[i] for i in row) for row in rows]
    assert all(0 < total <= 16 for total in sums)
    # No two rows would fit into one.
    assert sum(total <= 8 for total in sums) <= 1


def test_lengths_are_described_with_the_share_over_the_limit():
    lines = list(describe_lengths(["a b c", "a", "a b"], np.array([10, 4, 7]), 6))
    assert lines[0].startswith("lengths: 2.0 words and 7.0 tokens on average, at most 10; 2 of 3")
    assert "(66.7%) are over 6 tokens and are cut" in lines[0]
    assert sum(int(line.split("tokens")[1].split()[0]) for line in lines[1:]) == 3


def test_the_split_keeps_every_text_and_prints_both_counts(tmp_path, tokenizer, capsys):
    texts = tiny_gpt2.sentences(40)
    path = tmp_path / "a.txt"
    path.write_text("\n".join(texts))
    args = ClmArgs(train_file=str(path), do_train=True, do_eval=True)
    data = read_data(args, tokenizer, 64, RunLog())
    assert data.train is not None and data.dev is not None
    assert (len(data.train), len(data.dev)) == (36, 4)
    assert "split: 36 texts to train on, 4 to evaluate on" in capsys.readouterr().err
    encoded = {tuple(row) for row in encode_texts(texts, tokenizer, 64)[0]}
    found = {tuple(row) for dataset in (data.train, data.dev) for row in dataset.texts}
    assert found == encoded


def test_packed_rows_are_for_training_only(tmp_path, tokenizer):
    path = tmp_path / "a.txt"
    path.write_text("\n".join(tiny_gpt2.sentences(40)))
    args = ClmArgs(train_file=str(path), do_train=True, do_eval=True, packing=True)
    data = read_data(args, tokenizer, 200, RunLog(active=False))
    assert data.train is not None and data.dev is not None
    assert len(data.train) < len(data.train.texts) and len(data.dev) == len(data.dev.texts)
