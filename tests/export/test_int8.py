"""`bert-paddle export --format onnx --int8`: 8-bit weights, compared with float32 on the dev set of
the model's run."""

import json

import onnx
import pytest
import tiny

from bert_paddle.cli import export as command
from bert_paddle.common.errors import DataError, FlagError, RunError
from bert_paddle.export import check, export
from bert_paddle.export.int8 import Int8Options

# Rows that tell the two labels of the tiny model apart, in the form of dev_predictions.jsonl.
ROWS = [
    {"index": i, "text_a": f"{'good' if i % 2 else 'bad'} film " * (1 + i % 5), "label": label}
    for i, label in enumerate(["no", "yes"] * 20)
]


@pytest.fixture
def model(tmp_path):
    """A model as in a run's folder, with the rows that the run predicted."""
    write_rows(tmp_path / "dev_predictions.jsonl", ROWS)
    settings = {"settings": {"max_seq_length": 9}}
    (tmp_path / "run.json").write_text(json.dumps(settings))
    return tiny.write_model(tmp_path / "model_3", labels=("no", "yes"))


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_model_is_smaller_and_compared(model, capsys):
    out = model.parent / "made"
    command.main([str(model), "--format", "onnx", "--int8", "-o", str(out)])
    lines = capsys.readouterr().out.splitlines()
    assert "checked by ONNX Runtime" in lines[1]
    assert lines[2].startswith("8-bit weights: accuracy 0.") and lines[2].endswith("; 40 rows")
    about = json.loads((out / "export.json").read_text())["int8"]
    assert about["rows"] == 40 and about["metric"] == "accuracy"
    assert about["int8"]["size"] == (out / "model.onnx").stat().st_size
    stored = onnx.load(out / "model.onnx").graph.initializer
    in_8_bits = [array.name for array in stored if array.data_type == onnx.TensorProto.INT8]
    assert any("linear1" in name for name in in_8_bits) and len(in_8_bits) > 10
    assert min(about["int8"]["rows_per_second"], about["float32"]["rows_per_second"]) > 0
    assert "8-bit weights: accuracy" in (out / "README.md").read_text()
    assert not list(out.glob("float32*")) and "made" in {p.name for p in model.parent.iterdir()}


def test_a_loss_beyond_the_limit_writes_nothing(model, monkeypatch):
    real = check.run_onnx

    def worse(path, batches, python):
        """The 8-bit model's logits, negated: every prediction changes."""
        outputs, seconds = real(path, batches, python)
        return [-o if path.name == "model.onnx" else o for o in outputs], seconds

    monkeypatch.setattr(check, "run_onnx", worse)
    options = Int8Options(max_drop=100)  # whatever the float32 model reaches
    result = export.export_model(str(model), "onnx", str(model.parent / "a"), int8_options=options)
    reached = result.quantized
    assert reached.int8.metric == pytest.approx(1 - reached.float32.metric)
    limit = Int8Options(max_drop=abs(reached.drop) - 0.5)
    if reached.drop < 0:  # the float32 model was below a half: turn its labels over
        labels = {"no": "yes", "yes": "no"}
        turned = [row | {"label": labels[row["label"]]} for row in ROWS]
        write_rows(model.parent / "dev_predictions.jsonl", turned)
    with pytest.raises(RunError, match=r"loses \d+\.\d\d points of accuracy .*nothing was written"):
        export.export_model(str(model), "onnx", str(model.parent / "b"), int8_options=limit)
    assert not (model.parent / "b").exists()


def test_a_score_is_compared_by_its_correlation(model):
    scores = tiny.write_model(model.parent / "scores", labels=())
    path = model.parent / "scores.jsonl"
    write_rows(path, [row | {"label": i / 7} for i, row in enumerate(ROWS)])
    options = Int8Options(str(path), max_drop=100)
    result = export.export_model(str(scores), "onnx", int8_options=options).quantized
    assert result.metric == "pearson" and result.rows == 40


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not there: give --dev_predictions FILE"),
        ("", "is empty"),
        ("no JSON\n", r"jsonl:1 is not JSON"),
        ('{"text_a": 3}\n', r"jsonl:1 has no text_a"),
        ('{"text_a": "good", "label": "maybe"}\n', 'label "maybe" is none of the model'),
        (
            '{"text_a": "good", "text_b": "x", "label": "no"}\n{"text_a": "a", "label": "no"}\n',
            "some rows have a text_b and some have none",
        ),
    ],
)
def test_what_it_cannot_compare_on(model, content, message):
    path = model.parent / "dev_predictions.jsonl"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(DataError, match=message):
        export.export_model(str(model), "onnx", int8_options=Int8Options())
    assert not (model.parent / "model_3_onnx").exists()


def test_several_labels_per_row_are_compared_by_the_models_thresholds(model):
    several = tiny.write_model(model.parent / "several", ("a", "b", "c"), multi_label=True)
    path, rows = several / "config.json", model.parent / "several.jsonl"
    labels = [["c", "a"], ["b"], []]
    write_rows(rows, [row | {"label": labels[i % 3]} for i, row in enumerate(ROWS)])
    config, f1 = json.loads(path.read_text()), {}
    for threshold in (0.000001, 0.999999):  # all labels are predicted; none is
        path.write_text(json.dumps(config | {"thresholds": dict.fromkeys("abc", threshold)}))
        (several / "manifest.json").unlink(missing_ok=True)
        options, out = Int8Options(str(rows)), str(model.parent / f"out{threshold}")
        result = export.export_model(str(several), "onnx", out, int8_options=options).quantized
        assert result.metric == "f1_micro" and result.drop == 0
        f1[threshold] = result.float32.metric
    assert f1 == {0.000001: pytest.approx(2 * 41 / (41 + 120)), 0.999999: 0}


def test_labels_of_another_kind_than_the_models(model):
    path = model.parent / "dev_predictions.jsonl"
    write_rows(path, [row | {"label": [row["label"]]} for row in ROWS])
    with pytest.raises(DataError, match="jsonl:1: the label is a list, and the model predicts one"):
        export.export_model(str(model), "onnx", int8_options=Int8Options())
    several = tiny.write_model(model.parent / "several", ("no", "yes"), multi_label=True)
    write_rows(path, ROWS)
    with pytest.raises(DataError, match="jsonl:1: the label is no list, and the model"):
        export.export_model(str(several), "onnx", int8_options=Int8Options())


def test_flags_that_do_not_go_together(model):
    for flags in ("--format hf --int8", "--format onnx --dev_predictions x"):
        with pytest.raises(FlagError, match="--int8"):
            command.main([str(model), *flags.split()])
