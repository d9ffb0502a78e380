"""`predict`: predictions in input order from every model format and input, mistakes."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file, save_file

from bert_paddle import api
from bert_paddle.cli import predict
from bert_paddle.common.errors import DataError, FlagError, UserError, WeightsError
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args

ROOT = Path(__file__).resolve().parents[2]
TINY_HF = ROOT / "tests" / "reference" / "tiny_hf"


class Stdin(io.StringIO):
    """stdin with these bytes."""

    def __init__(self, content: bytes, interactive: bool = False):
        super().__init__()
        self.buffer, self.interactive = io.BytesIO(content), interactive

    def isatty(self) -> bool:
        return self.interactive


@pytest.fixture
def predict_lines(capsys, monkeypatch):
    """Call the command in this process; returns its output lines."""

    def call(*argv: str | Path, stdin: bytes = b"", interactive: bool = False) -> list[str]:
        monkeypatch.setattr(sys, "stdin", Stdin(stdin, interactive))
        capsys.readouterr()
        predict.main([str(word) for word in argv])
        return capsys.readouterr().out.splitlines()

    return call


@pytest.fixture(scope="module")
def regression_dir(tmp_path_factory) -> Path:
    return tiny.write_model(tmp_path_factory.mktemp("regression") / "model", labels=())


def test_a_hugging_face_model_has_the_probabilities_of_transformers(predict_lines):
    reference = json.loads((TINY_HF / "expected.json").read_text())
    lines = ["\t".join(pair) for pair in reference["texts"]]
    predictions = [json.loads(line) for line in predict_lines(TINY_HF, *lines, "--json")]
    logits = np.array(reference["logits"])
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = ("entailment", "neutral", "contradiction")
    for row, shares, (a, b) in zip(predictions, expected, reference["texts"], strict=True):
        assert list(row["probabilities"]) == list(names)
        assert np.allclose(list(row["probabilities"].values()), shares, atol=1e-5)
        assert row["label"] == names[int(np.argmax(shares))]
        assert (row["text_a"], row["text_b"]) == (a, b)


def balanced_classifier(folder: Path, texts: list[str]) -> Path:
    """A random classifier whose bias is such that it gives half of the texts to each class."""
    tiny.write_model(folder, labels=("negative", "positive"))
    shares = [prediction.probabilities for prediction in api.load(folder).predict(texts)]
    margins = [np.log(share["positive"] / share["negative"]) for share in shares]
    tensors = load_file(folder / "model.safetensors")
    tensors["classifier.bias"] -= np.array([0, np.median(margins)], np.float32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "np"})
    return folder


def test_predictions_are_those_of_do_predict(predict_lines, tmp_path):
    """Lines of stdin, with an incomplete last batch, compared with predictions/SST-2.tsv."""
    tiny.write_sst2(tmp_path / "SST-2", test=21)
    texts = [r.split("\t")[1] for r in (tmp_path / "SST-2/test.tsv").read_text().splitlines()[1:]]
    model = balanced_classifier(tmp_path / "model", texts)
    argv = f"--task_name sst2 --model_name_or_path {model} --data_dir {tmp_path} --do_predict "
    argv += f"--max_seq_length 64 --output_dir {tmp_path / 'out'}"
    finetune.run(parse_args(argv.split()))
    rows = (tmp_path / "out/predictions/SST-2.tsv").read_text().splitlines()[1:]
    expected = [("negative", "positive")[int(row.split("\t")[1])] for row in rows]
    assert len(set(expected)) == 2
    stdin = "\r\n".join(texts).encode()
    lines = predict_lines(model, "--batch_size", "4", stdin=stdin)
    assert [line.split("\t")[0] for line in lines] == expected
    assert [line.split("\t")[2] for line in lines] == texts


def test_output_line_of_a_text(predict_lines, tiny_dir):
    (line,) = predict_lines(tiny_dir, "the cat\x1b[31m sat")
    label, shares, text = line.split("\t")
    no, yes = (float(share.split(" ")[1]) for share in shares.split(", "))
    assert label == ("no", "yes")[yes > no] and abs(no + yes - 1) < 2e-4
    assert text == "the cat [31m sat"  # no control characters


def test_pairs_by_flag_and_by_tab_are_equal(predict_lines, tiny_dir):
    flag = predict_lines(tiny_dir, "the cat sat", "--pair", "it did", "--json")
    assert flag == predict_lines(tiny_dir, "the cat sat\tit did", "--json")
    assert flag == predict_lines(tiny_dir, "--json", stdin=b"the cat sat\tit did\n")
    joined = predict_lines(tiny_dir, "the cat sat it did", "--json")
    assert json.loads(joined[0])["probabilities"] != json.loads(flag[0])["probabilities"]


def test_a_regression_gives_its_score(predict_lines, regression_dir):
    (line,) = predict_lines(regression_dir, "the cat sat\tit did", "--json")
    prediction = json.loads(line)
    assert set(prediction) == {"text_a", "text_b", "score"}
    (line,) = predict_lines(regression_dir, "the cat sat\tit did")
    assert line == f"{prediction['score']:.4f}\tthe cat sat\tit did"


def test_interactive_input_is_predicted_line_by_line(predict_lines, tiny_dir, monkeypatch):
    sizes = []
    original = predict._predict
    monkeypatch.setattr(predict, "_predict", lambda *a: sizes.append(len(a[1])) or original(*a))
    assert len(predict_lines(tiny_dir, stdin=b"one\ntwo\n", interactive=True)) == 2
    assert sizes == [1, 1]


@pytest.mark.parametrize(
    ("words", "place"),
    [(["the", "a \udcff cat"], "TEXT 2"), (["the", "--pair", "\udcff"], "--pair")],
)
def test_arguments_that_are_not_unicode(predict_lines, tiny_dir, words, place):
    with pytest.raises(UserError, match=f"{place}.* not UTF-8"):
        predict_lines(tiny_dir, *words)


def test_lines_before_a_bad_one_are_predicted(predict_lines, tiny_dir, capsys):
    with pytest.raises(DataError, match="stdin:3: not UTF-8"):
        predict_lines(tiny_dir, stdin=b"the\ncat\n\xff\nsat\n")
    assert [line.split("\t")[2] for line in capsys.readouterr().out.splitlines()] == ["the", "cat"]


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        (b"", "stdin is empty"),
        (b"a\n\nb\n", "stdin:2: there is no text"),
        (b"a\tb\tc\n", "stdin:1: 3 texts separated by TABs"),
        (b"a\t\n", "stdin:1: there is no text on one side of the TAB"),
        (b"a\tb\nc\n", "stdin:2: pairs and single texts are mixed"),
    ],
)
def test_bad_lines_are_errors(predict_lines, tiny_dir, stdin, message):
    with pytest.raises(DataError, match=message):
        predict_lines(tiny_dir, stdin=stdin)


def write_config(folder: Path, **changes) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


def test_pair_models_reject_single_texts_and_vice_versa(predict_lines, tmp_path):
    labels = ("not_equivalent", "equivalent")
    mrpc = write_config(tiny.write_model(tmp_path / "mrpc", labels), finetuning_task="MRPC")
    with pytest.raises(DataError, match="TEXT 1: .*MRPC, which has pairs of texts .--pair"):
        predict_lines(mrpc, "one text")
    assert predict_lines(mrpc, "one text", "--pair", "another")
    labels = ("negative", "positive")
    sst2 = write_config(tiny.write_model(tmp_path / "sst2", labels), finetuning_task="SST-2")
    with pytest.raises(DataError, match="SST-2, which has one text, not pairs"):
        predict_lines(sst2, "one\ttwo")
    columns = {"text": "question", "pair": "answer", "label": "good"}
    custom = write_config(
        tiny.write_model(tmp_path / "own"), finetuning_task="qa", own_data=columns
    )
    with pytest.raises(DataError, match="qa, which has pairs of texts"):
        predict_lines(custom, "one text")


def test_unsuitable_model_folders_are_errors(predict_lines, tmp_path):
    encoder = tiny.write_encoder(tmp_path / "encoder")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").touch()
    broken = tiny.write_model(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:900])
    for folder, message in (
        (encoder, "has no classifier .it is a pre-trained model.: fine-tune it first"),
        (tmp_path / "run", "has no config.json: is this a model folder"),
        (tmp_path, "has no config.json; did you mean .*broken|encoder"),
        (broken, "model.safetensors"),
        (tmp_path / "none", "there is no model folder"),
        ("bert-base-uncased", "is a pre-trained model without a classifier"),
    ):
        with pytest.raises(WeightsError, match=message):
            predict_lines(folder, "text")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "MODEL_DIR .* is missing"),
        (["m", "--pair", "b"], "--pair needs exactly one TEXT, not 0"),
        (["m", "a", "c", "--pair", "b"], "--pair needs exactly one TEXT, not 2"),
        (["m", "a\tb", "--pair", "c"], "both make it a pair"),
        (["m", "a", "--batch_size", "0"], "at least 1"),
    ],
)
def test_wrong_flags(predict_lines, argv, message):
    with pytest.raises(FlagError, match=message):
        predict_lines(*argv)


def test_rows_are_truncated_to_max_seq_length(predict_lines, tiny_dir):
    long = "the cat sat " * 40  # the model has 64 positions
    assert predict_lines(tiny_dir, long, "--json")[0] == predict_lines(
        tiny_dir, long + "old", "--json"
    )[0].replace("sat old", "sat ")
    short = json.loads(predict_lines(tiny_dir, long, "--json", "--max_seq_length", "8")[0])
    assert (
        short["probabilities"]
        != json.loads(predict_lines(tiny_dir, long, "--json")[0])["probabilities"]
    )
    with pytest.raises(WeightsError, match="beyond the 64 positions"):
        predict_lines(tiny_dir, long, "--max_seq_length", "65")


def test_the_api_gives_the_same_predictions(predict_lines, tiny_dir):
    model = api.load(tiny_dir)
    texts = [f"the cat sat {word}" for word in tiny.WORDS]
    by_command = [json.loads(line) for line in predict_lines(tiny_dir, *texts, "--json")]
    predictions = model.predict(texts, batch_size=5)
    assert [prediction.label for prediction in predictions] == [row["label"] for row in by_command]
    # Other batches are padded to other lengths, which changes the last digits.
    for prediction, row in zip(predictions, by_command, strict=True):
        assert prediction.probabilities == pytest.approx(row["probabilities"], abs=1e-6)
    assert model.predict([]) == []


@pytest.mark.parametrize(
    ("texts", "pairs", "message"),
    [
        ("a text", None, "lists of texts"),
        (["a", "b"], ["c"], "2 texts and 1 pairs"),
    ],
)
def test_the_api_rejects_other_arguments_than_lists_of_texts(tiny_dir, texts, pairs, message):
    with pytest.raises(DataError, match=message):
        api.load(tiny_dir).predict(texts, pairs)


def test_as_a_program_a_user_error_is_one_line_and_exit_code_2(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "bert_paddle", "predict", str(tmp_path), "text"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and not done.stdout
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert line.startswith(f"error: {tmp_path} has no config.json")
