"""make_demo_data.py: SST-2's format, no duplicates, not solved by counting words."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bert_paddle.glue.data import tsv
from bert_paddle.glue.tasks import get_task

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_demo_data.py"
FILES = ("DEMO", "dev.tsv", "test.tsv", "train.tsv")


def make(folder: Path, *more: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), str(folder), *more]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "deep" / "SST-2"
    done = make(folder)
    assert done.returncode == 0, done.stderr
    return folder


def examples(folder: Path, split: str) -> tsv.Examples:
    return tsv.read_task_file(get_task("SST-2"), folder / f"{split}.tsv", split)


def words(sentence: str) -> tuple[str, ...]:
    letters = "".join(c if c.isalnum() else " " for c in sentence.lower())
    return tuple(letters.split())


def test_files_are_readable_as_sst2_and_recognized_as_demo(demo):
    assert tuple(sorted(path.name for path in demo.iterdir())) == FILES
    assert tsv.is_demo(demo)
    sizes = {split: len(examples(demo, split)) for split in ("train", "dev", "test")}
    assert sizes == {"train": 1600, "dev": 400, "test": 100}
    assert examples(demo, "test").labels is None


@pytest.mark.parametrize("split", ["train", "dev"])
def test_labels_are_balanced_and_shuffled(demo, split):
    labels = examples(demo, split).labels.tolist()
    assert Counter(labels) == {0: len(labels) // 2, 1: len(labels) // 2}
    assert 0.3 < sum(labels[: len(labels) // 4]) / (len(labels) // 4) < 0.7


def test_no_sentence_is_duplicated_within_or_between_files(demo):
    sentences = [
        words(s) for name in ("train", "dev", "test") for s in examples(demo, name).texts_a
    ]
    assert len(set(sentences)) == len(sentences) == 2100


def test_about_half_of_the_dev_rows_have_unseen_words(demo):
    training_words = {
        word for sentence in examples(demo, "train").texts_a for word in words(sentence)
    }
    dev = examples(demo, "dev").texts_a
    new = sum(any(word not in training_words for word in words(sentence)) for sentence in dev)
    assert 0.4 < new / len(dev) < 0.9


def test_counting_good_and_bad_words_does_not_solve_it(demo):
    """Naive Bayes on single words, fitted on the training file, stays below 80% accuracy."""
    train, dev = examples(demo, "train"), examples(demo, "dev")
    counts = {0: Counter(), 1: Counter()}
    for sentence, label in zip(train.texts_a, train.labels.tolist(), strict=True):
        counts[label].update(words(sentence))
    correct = 0
    for sentence, label in zip(dev.texts_a, dev.labels.tolist(), strict=True):
        odds = 1.0
        for word in words(sentence):
            odds *= (counts[1][word] + 1) / (counts[0][word] + 1)
        correct += int((odds > 1) == bool(label))
    assert correct / len(dev) < 0.8


def test_articles_match_the_next_word(demo):
    for sentence in examples(demo, "train").texts_a:
        tokens = sentence.split()
        for article, following in zip(tokens, tokens[1:], strict=False):
            if article in ("a", "an"):
                assert (article == "an") == (following[0] in "aeiou"), sentence


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(demo, tmp_path):
    make(tmp_path / "same")
    make(tmp_path / "other", "--seed", "7")
    for name in FILES:
        assert (tmp_path / "same" / name).read_bytes() == (demo / name).read_bytes()
    assert (tmp_path / "other/dev.tsv").read_bytes() != (demo / "dev.tsv").read_bytes()


def test_real_data_is_never_overwritten(tmp_path):
    (tmp_path / "train.tsv").write_text("sentence\tlabel\nreal\t1\n")
    done = make(tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: ")
    assert [path.name for path in tmp_path.iterdir()] == ["train.tsv"]
