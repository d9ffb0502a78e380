"""Rows of single sequences (--nsp 0) and shards without masks (--dynamic_masking)."""

import json
import random
from random import Random

import h5py
import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_paddle.common.errors import FlagError
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.pretrain.create import create_data
from bert_paddle.pretrain.create.args import parse_args
from bert_paddle.pretrain.create.rows import TokenPool, build_single_rows
from bert_paddle.pretrain.create.sentence_pairs import TokenizedDocuments
from bert_paddle.pretrain.create.sequences import (
    DOC_SENTENCES,
    FULL_SENTENCES,
    make_sequence_text,
    make_sequences,
)

CLS, SEP, PAD = 1, 2, 0
ALL_KEYS = {"input_ids", "input_mask", "segment_ids", "masked_lm_positions", "masked_lm_ids"}


def make_text(sentence_lengths):
    """Documents with sentences of these lengths, the word pieces numbered from 100."""
    lengths = [length for document in sentence_lengths for length in document]
    offsets = [0, *np.cumsum(lengths).tolist()]
    documents, first = [], 0
    for number, document in enumerate(sentence_lengths):
        documents.append((first, first + len(document), number))
        first += len(document)
    ids = np.arange(100, 100 + offsets[-1], dtype=np.int32)
    pool = TokenPool.with_special_tokens(ids, np.ones(len(ids), bool), (CLS, SEP, PAD))
    return TokenizedDocuments(offsets, documents, len(documents)), pool


def make_rows(sentence_lengths, form, length, short=0.0):
    text, pool = make_text(sentence_lengths)
    sep_index = len(pool.ids) - 2
    sequence_text = make_sequence_text(text, form, sep_index)
    spans = make_sequences(sequence_text, length, short, Random(0), sep_index)
    rows, pool_index = build_single_rows(spans, sequence_text.stream, pool, length)
    return rows, pool_index, pool


def texts(rows):
    return [ids[mask == 1].tolist() for ids, mask in zip(*map(rows.get, KEYS), strict=True)]


KEYS = ("input_ids", "input_mask")


def test_rows_of_an_example():
    documents = [[2, 3, 2], [1, 3, 3]]  # word pieces 100-106 and 107-113
    rows, pool_index, pool = make_rows(documents, FULL_SENTENCES, 8)
    assert texts(rows) == [
        [CLS, 100, 101, 102, 103, 104, SEP],
        [CLS, 105, 106, SEP, 107, SEP],
        [CLS, 108, 109, 110, 111, 112, 113, SEP],
    ]
    assert not rows["segment_ids"].any()
    assert (pool.is_word_piece(pool_index) == (rows["input_ids"] >= 100)).all()
    rows, _, _ = make_rows(documents, DOC_SENTENCES, 8)
    assert texts(rows) == [
        [CLS, 100, 101, 102, 103, 104, SEP],
        [CLS, 105, 106, SEP],
        [CLS, 107, 108, 109, 110, SEP],
        [CLS, 111, 112, 113, SEP],
    ]


def test_a_long_sentence_continues_in_the_next_row():
    rows, _, _ = make_rows([[14, 2]], FULL_SENTENCES, 8)
    assert texts(rows) == [
        [CLS, *range(100, 106), SEP],
        [CLS, *range(106, 112), SEP],
        [CLS, *range(112, 116), SEP],
    ]


documents = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=8), min_size=1, max_size=8)


@settings(max_examples=80, deadline=None)
@given(documents, st.sampled_from([FULL_SENTENCES, DOC_SENTENCES]), st.integers(8, 40))
def test_every_word_piece_once_and_whole_sentences(sentence_lengths, form, length):
    rows, _, _ = make_rows(sentence_lengths, form, length)
    inner = [row[1:-1] for row in texts(rows)]
    flat = [piece for row in inner for piece in row if piece != SEP]
    assert flat == list(range(100, 100 + sum(map(sum, sentence_lengths))))
    text, _ = make_text(sentence_lengths)
    ends = {100 + offset for offset in text.offsets}
    boundaries = {100 + text.offsets[first] for first, _, _ in text.documents}
    for row, following in zip(inner, [*inner[1:], None], strict=True):
        assert row[0] != SEP and row[-1] != SEP and len(row) <= length - 2
        for before, sep, after in zip(row, row[1:], row[2:], strict=False):
            if sep == SEP:
                assert form == FULL_SENTENCES and after == before + 1 and after in boundaries
        if following is None:
            continue
        full = len(row) == length - 2
        assert row[-1] + 1 in ends or full, "a sentence is cut only where the row is full"
        if form == FULL_SENTENCES and row[-1] + 1 in ends:
            next_sentence = min(e for e in ends if e > following[0]) - following[0]
            assert len(row) + next_sentence + (following[0] in boundaries) > length - 2


@pytest.fixture
def create(tmp_path):
    """Creates shards from 40 documents with these flags; returns their content and metadata."""
    rng = random.Random(0)
    documents = ["\n".join(tiny.sentence(rng) for _ in range(rng.randint(1, 8))) for _ in range(40)]
    (tmp_path / "text.txt").write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    (tmp_path / "one.txt").write_text(documents[0] + "\n", encoding="utf-8")
    Tokenizer(tiny.VOCAB).save(tmp_path)

    def run(*flags, text="text.txt", out="out"):
        argv = f"--input_files {tmp_path / text} --vocab_file {tmp_path / 'vocab.txt'} "
        argv += f"--output_dir {tmp_path / out} --corpus_name c --max_seq_length 32 "
        create_data.run(parse_args([*argv.split(), *" ".join(flags).split()]))
        with h5py.File(tmp_path / out / "c_training_0.hdf5") as file:
            rows = {key: file[key][:] for key in file}
        return rows, json.loads((tmp_path / out / "c_metadata.json").read_text())

    return run


def test_single_sequences_and_what_the_metadata_says(create, capsys):
    rows, metadata = create("--nsp 0 --test_share 0.2 --max_predictions_per_seq 6")
    assert rows.keys() == ALL_KEYS and not rows["segment_ids"].any()
    recipe = metadata["made_from"]["recipe"]
    assert (recipe["nsp"], recipe["sequences"], recipe["dupe_factor"]) == (False, FULL_SENTENCES, 5)
    assert recipe["short_seq_prob"] == 0 and "dynamic_masking" not in recipe
    assert metadata["random_next_share"] is None and metadata["masked_share"] > 0.7
    assert "single sequences (full_sentences)" in capsys.readouterr().err.splitlines()[-1]


def test_shards_without_masks_are_the_same_text_and_smaller(create, tmp_path):
    pairs, metadata = create("--dynamic_masking 1", out="dynamic")
    masked, with_masks = create("--max_predictions_per_seq 20", out="static")
    assert pairs.keys() == {"input_ids", "input_mask", "segment_ids", "next_sentence_labels"}
    recipe = metadata["made_from"]["recipe"]
    assert recipe["dynamic_masking"] and recipe["dupe_factor"] == 5
    assert not {"masked_lm_prob", "max_predictions_per_seq", "nsp"} & recipe.keys()
    assert metadata["masked_share"] is None and metadata["random_next_share"] is not None
    assert metadata["rows"] == with_masks["rows"] and "predictions" not in recipe
    assert metadata["shards"][0]["size"] < 0.9 * with_masks["shards"][0]["size"]
    mask_id = tiny.VOCAB.index("[MASK]")
    assert (pairs["input_ids"] != mask_id).all() and (masked["input_ids"] == mask_id).any()


def test_one_pass_of_sequences_without_masks(create):
    flags = "--nsp 0 --dynamic_masking 1 --test_share 0 --sequences doc_sentences"
    rows, metadata = create(flags)
    assert rows.keys() == {"input_ids", "input_mask", "segment_ids"}
    assert metadata["made_from"]["recipe"]["dupe_factor"] == 1
    pieces = rows["input_ids"][rows["input_ids"] > tiny.VOCAB.index("[MASK]")]
    assert len(pieces) == metadata["pieces"]  # no text is lost and none repeated
    assert (
        create("--nsp 0 --dynamic_masking 1 --sequences doc_sentences --dupe_factor 2", out="2")[1][
            "rows"
        ]
        == 2 * metadata["rows"]
    )


def test_one_document_and_documents_of_one_line_do_without_pairs(create):
    rows, _ = create("--nsp 0 --dynamic_masking 1 --test_share 0", text="one.txt", out="one")
    assert len(rows["input_ids"])
    flags = "--nsp 0 --dynamic_masking 1 --document_format line --form lines --test_share 0"
    rows, metadata = create(flags, "--sequences doc_sentences", out="lines")
    assert metadata["rows"] == metadata["sets"]["training"]["sentences"]  # a line is a row


def test_flags_that_contradict_each_other():
    argv = "--input_files t --vocab_file v --output_dir o --dynamic_masking --sequences "
    argv += "doc_sentences --whole_word_mask 1 --mlm_probability 0.3 --segmenter jieba"
    with pytest.raises(FlagError) as caught:
        parse_args(argv.split())
    problems = "; ".join(caught.value.problems)
    assert "--masked_lm_prob, --whole_word_mask, --segmenter cannot be used" in problems
    assert "--sequences doc_sentences needs --nsp 0" in problems
