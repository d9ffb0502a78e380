"""GPT-2's byte-level BPE: ids equal to transformers' GPT2Tokenizer, special tokens, round trips."""

import hashlib
import json
import shutil
from pathlib import Path

import bpe_texts
import pytest
import tiny_gpt2

from bert_paddle.common.errors import UserError, WeightsError
from bert_paddle.models import bpe_files
from bert_paddle.models.byte_level_bpe import BpeTokenizer, load_bpe_tokenizer

REFERENCE = tiny_gpt2.REFERENCE
ROLES = {"bos": "<|startoftext|>", "eos": "<|endoftext|>", "pad": "<|pad|>"}


@pytest.fixture
def tokenizer() -> BpeTokenizer:
    return load_bpe_tokenizer(tiny_gpt2.HF_DIR)


@pytest.fixture
def copied(tmp_path) -> Path:
    """A copy of the reference's tokenizer files, with vocab.json and merges.txt alone."""
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(tiny_gpt2.HF_DIR / name, tmp_path)
    return tmp_path


def test_ids_equal_transformers(tokenizer):
    expected = json.loads((REFERENCE / "tiny_gpt2_tokens.json").read_text("utf-8"))["ids"]
    assert tokenizer.encode_texts(bpe_texts.texts(200, seed=6)) == expected


def test_what_was_loaded_is_told(copied):
    count = len(load_bpe_tokenizer(copied))
    (line,) = load_bpe_tokenizer(copied).messages
    assert line == f"tokenizer: {copied / 'vocab.json'}: {count:,} tokens"
    (copied / "added_tokens.json").write_text(json.dumps({"<new>": count}))
    (line,) = load_bpe_tokenizer(copied).messages
    assert line == f"tokenizer: {copied / 'vocab.json'}: {count + 1:,} tokens, 1 of them added"


def test_ids_of_the_real_vocabulary_equal_transformers(gpt2_vocab_dir):
    expected = json.loads((REFERENCE / "gpt2_tokenizer.json").read_text("utf-8"))
    tokenizer = load_bpe_tokenizer(gpt2_vocab_dir).with_roles(ROLES)
    assert [tokenizer.id_of(role) for role in ROLES] == expected["special_ids"]
    texts = bpe_texts.texts(4000)
    for i in range(0, len(texts), 97):
        texts[i] = f"<|startoftext|>{texts[i]} <|endoftext|>"
    rows = tokenizer.encode_texts(texts)
    assert rows[:3] == expected["first"] and sum(map(len, rows)) == expected["tokens"]
    digests = [
        hashlib.sha256(json.dumps(rows[i : i + 50]).encode()).hexdigest()[:16]
        for i in range(0, len(rows), 50)
    ]
    assert digests == expected["digests"]


def test_decoding_gives_back_every_text(tokenizer):
    texts = [*bpe_texts.texts(300, seed=9), " a , b . ' s n't", "  ", ""]
    for text, ids in zip(texts, tokenizer.encode_texts(texts), strict=True):
        assert tokenizer.decode(ids) == text
        stream = tokenizer.stream_decoder()
        assert "".join(map(stream.add, ids)) + stream.finish() == text


def test_special_tokens_are_found_in_texts_and_left_out_of_decoded_ones(tokenizer):
    bos, eos, pad = (tokenizer.id_of(role) for role in ROLES)
    assert (bos, eos, pad) == (340, 0, 341)
    ids = tokenizer.encode_texts(["<|startoftext|>born<|endoftext|><|pad|>"])[0]
    assert (ids[0], ids[-2:]) == (bos, [eos, pad])
    assert tokenizer.decode(ids) == "<|startoftext|>born<|endoftext|><|pad|>"
    assert tokenizer.decode(ids, skip=(bos, eos, pad)) == "born"
    assert tokenizer.special_token_in("a <|pad|> b") == "<|pad|>"
    assert tokenizer.special_token_in("a <|pad| > b") is None


@pytest.mark.parametrize("form", ["both", "tokenizer.json", "vocab.json"])
def test_saved_and_loaded_the_same(tmp_path, copied, form):
    tokenizer = load_bpe_tokenizer(copied).with_roles(ROLES)
    folder = tmp_path / "saved"
    folder.mkdir()
    tokenizer.save(folder)
    if form == "tokenizer.json":
        (folder / "vocab.json").unlink()
        (folder / "added_tokens.json").unlink()
    if form == "vocab.json":
        (folder / "tokenizer.json").unlink()
    loaded = load_bpe_tokenizer(folder)
    assert loaded.digest_values() == tokenizer.digest_values()
    texts = [*bpe_texts.texts(50), "a<|pad|>b"]
    assert loaded.encode_texts(texts) == tokenizer.encode_texts(texts)


def test_a_last_merge_without_a_line_feed_counts(copied):
    path = copied / "merges.txt"
    text = path.read_text("utf-8")
    merges = bpe_files.read_merges(path)
    assert len(merges) == len(text.splitlines()) - 1  # without the line of the version
    path.write_text(text.rstrip("\n"), encoding="utf-8")
    assert bpe_files.read_merges(path) == merges
    path.write_bytes(text.replace("\n", "\r\n").encode())
    assert bpe_files.read_merges(path) == merges
    path.write_text("#version: 0.2\n# #\n#v e\n", encoding="utf-8")
    assert bpe_files.read_merges(path) == [("#", "#"), ("#v", "e")]


def test_without_declared_roles_the_end_of_text_begins_and_ends_a_text(copied):
    tokenizer = load_bpe_tokenizer(copied)
    assert tokenizer.roles == {"bos": "<|endoftext|>", "eos": "<|endoftext|>"}
    assert tokenizer.id_of("pad") is None
    assert tokenizer.encode_texts(["a<|endoftext|>"])[0][-1] == tokenizer.id_of("eos")


@pytest.mark.parametrize("token", ["a", " ", None])
def test_an_ordinary_token_is_refused_as_a_special_one(tokenizer, token):
    token = token or tokenizer.vocab[300]  # the result of a merge
    with pytest.raises(UserError, match="--bos_token"):
        tokenizer.with_roles({"bos": token})


def _edit(path: Path, change) -> None:
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("vocab.json", lambda v: v.pop("a"), "ids of its tokens are not"),
        ("vocab.json", lambda v: v.update({"a": 999}), "ids of its tokens are not"),
        ("vocab.json", lambda v: v.update({"new": v.pop("a")}), "lacks 1 of the 256 bytes"),
        (
            "vocab.json",
            lambda v: v.update({"<|x|>": v.pop(list(v)[300])}),
            "belong to different models",
        ),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_refused(copied, name, change, message):
    _edit(copied / name, change)
    with pytest.raises(WeightsError, match=message):
        load_bpe_tokenizer(copied)


def test_other_tokenizers_are_refused_by_name(tmp_path, copied):
    (copied / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    with pytest.raises(WeightsError, match="LlamaTokenizer"):
        load_bpe_tokenizer(copied)
    (copied / "tokenizer_config.json").unlink()
    (copied / "merges.txt").unlink()
    with pytest.raises(WeightsError, match="merges.txt: no such file"):
        load_bpe_tokenizer(copied)
    bert = tmp_path / "bert"
    bert.mkdir()
    (bert / "vocab.txt").write_text("[PAD]\n")
    with pytest.raises(WeightsError, match=r"vocab.txt is BERT's"):
        load_bpe_tokenizer(bert)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(normalizer={"type": "NFC"}), "normalizer"),
        (lambda c: c.update(pre_tokenizer={"type": "Sequence"}), "pre_tokenizer is not ByteLevel"),
        (lambda c: c["model"].update(type="WordPiece"), "type of its model"),
        (lambda c: c["model"].update(byte_fallback=True), "byte_fallback"),
    ],
)
def test_a_tokenizer_json_of_another_kind_is_refused(tmp_path, change, message):
    shutil.copy(tiny_gpt2.HF_DIR / "tokenizer.json", tmp_path)
    load_bpe_tokenizer(tmp_path)
    _edit(tmp_path / "tokenizer.json", change)
    with pytest.raises(WeightsError, match=message):
        load_bpe_tokenizer(tmp_path)
