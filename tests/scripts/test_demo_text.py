"""make_demo_text.py: coherent documents, with the vocabulary of the demo SST-2 set."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.pretrain.create import vocab
from bert_paddle.pretrain.create.documents import Document, TextFormat, read_documents
from bert_paddle.pretrain.create.input_files import find_files

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def make(folder: Path, *more: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPTS / "make_demo_text.py"), str(folder), *more]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "deep" / "text"
    done = make(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def documents(demo) -> list[list[str]]:
    read = list(read_documents(find_files([str(demo)]).files, TextFormat()))
    assert all(document.part == 0 for document in read)
    return [document.sentences for document in read]


def test_documents_have_8_to_20_different_sentences(demo, documents):
    assert sorted(path.name for path in demo.iterdir()) == ["DEMO", "demo.txt"]
    assert len(documents) == 120
    for sentences in documents:
        assert 8 <= len(sentences) <= 20 and len(set(sentences)) == len(sentences)
        assert all(5 <= len(sentence.split()) <= 25 for sentence in sentences)
    assert {len(sentences) for sentences in documents} >= {8, 20}


def test_consecutive_halves_share_more_words_than_random_ones(documents):
    """The signal for next-sentence prediction."""

    words_of = [{w for line in sentences for w in line.split()} for sentences in documents]
    seen = Counter(word for words in words_of for word in words)
    names = {word for word, count in seen.items() if count < len(documents) / 4}

    def shared(a: list[str], b: list[str]) -> int:
        words = [{w for line in part for w in line.split()} for part in (a, b)]
        return len(words[0] & words[1] & names)

    halves = [(d[: len(d) // 2], d[len(d) // 2 :]) for d in documents]
    others = [*halves[1:], halves[0]]
    right = sum(
        shared(a, b) > shared(a, other) for (a, b), (_, other) in zip(halves, others, strict=True)
    )
    assert right / len(halves) > 0.95


def test_each_document_has_mostly_one_polarity(documents):
    sys.path.insert(0, str(SCRIPTS))
    try:
        import make_demo_data
    finally:
        sys.path.remove(str(SCRIPTS))
    good, bad = set(make_demo_data.GOOD), set(make_demo_data.BAD)
    positive, majority_share = 0, 0.0
    for sentences in documents:
        words = [word for line in sentences for word in line.split()]
        positives, negatives = (sum(word in kind for word in words) for kind in (good, bad))
        assert positives != negatives
        positive += positives > negatives
        majority_share += max(positives, negatives) / (positives + negatives) / len(documents)
    assert majority_share > 0.75
    assert 0.3 < positive / len(documents) < 0.7
    all_words = {word for sentences in documents for line in sentences for word in line.split()}
    assert good | bad <= all_words  # also those held out of the demo SST-2 training file


def test_its_vocabulary_covers_the_demo_sst2_set(demo, documents, tmp_path):
    words = vocab.count_words([Document(0, 0, sum(documents, []), "demo")], True)
    pieces = vocab.train(words, 1000, 2, 1000, lambda note: None)
    subprocess.run([sys.executable, str(SCRIPTS / "make_demo_data.py"), str(tmp_path)], check=True)
    lines = (tmp_path / "dev.tsv").read_text().split("\n")[1:-1]
    tokens = Tokenizer(pieces)
    token_ids = tokens.tokenize_to_ids([line.split("\t")[0] for line in lines])
    assert not any(tokens.unk_id in ids for ids in token_ids)
    assert sum(map(len, token_ids)) < 1.8 * sum(len(line.split()) for line in lines)


def test_no_sentence_is_in_the_demo_sst2_set(documents, tmp_path):
    subprocess.run([sys.executable, str(SCRIPTS / "make_demo_data.py"), str(tmp_path)], check=True)
    rated = {
        line.split("\t")[0]
        for name in ("train.tsv", "dev.tsv")
        for line in (tmp_path / name).read_text().split("\n")
    }
    assert not rated & {line for sentences in documents for line in sentences}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(demo, tmp_path):
    make(tmp_path / "same")
    make(tmp_path / "other", "--seed", "7")
    make(tmp_path / "few", "--documents", "3")
    same = (demo / "demo.txt").read_bytes()
    assert (tmp_path / "same/demo.txt").read_bytes() == same
    assert (tmp_path / "other/demo.txt").read_bytes() != same
    assert same.startswith((tmp_path / "few/demo.txt").read_bytes())
    assert make(tmp_path / "same").returncode == 0  # its own files may be overwritten


@pytest.mark.parametrize("name", ["train.tsv", "demo.txt"])
def test_a_folder_with_other_files_is_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text("real")
    done = make(tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: ")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "real")]
