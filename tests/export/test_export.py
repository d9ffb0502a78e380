"""`bert-paddle export`: the files it writes and their check in another process."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file

from bert_paddle.cli import export as command
from bert_paddle.common.errors import RunError, WeightsError
from bert_paddle.export import check, export, hugging_face, sample, source
from bert_paddle.models import load_weights, weight_names
from bert_paddle.training import model_card

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "tests" / "reference"
PEERS = ROOT / ".venv-peers" / "bin" / "python"
TOKENIZER = {"vocab.txt", "tokenizer.json", "tokenizer_config.json"}
COMMON_FILES = {"config.json", "export.json", "README.md"} | TOKENIZER


def file_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def unchecked(monkeypatch):
    """Skip the comparison of exports, for tests of everything else."""
    monkeypatch.setattr(
        check, "compare_logits", lambda *a: check.CheckResult(skip_reason="turned off")
    )


def test_onnx_is_checked_in_another_process(tiny_dir, tmp_path, capsys):
    out = tmp_path / "made"
    command.main([str(tiny_dir), "--format", "onnx", "-o", str(out)])
    stdout = capsys.readouterr().out
    assert f"exported: {out} (onnx, " in stdout
    assert "checked by ONNX Runtime" in stdout and "largest difference of logits" in stdout
    assert file_names(out) == COMMON_FILES | {"model.onnx"}
    export_info = json.loads((out / "export.json").read_text())
    assert export_info["format"] == "onnx" and 0 <= export_info["largest_difference"] <= 1e-5
    assert export_info["from"] == tiny_dir.name  # not the path
    assert file_names(tmp_path) == {"made"}  # no temporary folder is left


def test_paddle_inference_is_checked_in_another_process(tmp_path):
    """With a regression model, whose logits are [rows, 1]."""
    folder = tiny.write_model(tmp_path / "m", labels=())
    result = export.export_model(str(folder), "paddle_inference")
    assert result.folder == tmp_path / "m_paddle_inference"
    assert "Paddle Inference" in result.check.runtime and result.check.max_difference <= 1e-5
    assert result.check.rows == 10 and result.check.batches == 4
    assert file_names(result.folder) == COMMON_FILES | {"model.json", "model.pdiparams"}


def test_without_transformers_the_export_is_unchecked(tiny_dir, tmp_path, capsys):
    command.main([str(tiny_dir), "--format", "hf", "-o", str(tmp_path / "hf")])
    assert "unchecked (transformers is not installed for " in capsys.readouterr().out
    assert json.loads((tmp_path / "hf/export.json").read_text())["largest_difference"] is None


def test_hf_folder_has_transformers_names_shapes_and_settings(tmp_path, unchecked):
    """Compared with a folder written by transformers."""
    theirs = REFERENCE / "tiny_hf"
    folder = export.export_model(str(theirs), "hf", str(tmp_path / "hf")).folder
    assert file_names(folder) == COMMON_FILES | {"model.safetensors"}
    ours, expected = (load_file(path / "model.safetensors") for path in (folder, theirs))
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        assert np.array_equal(ours[name], value), name
    config, expected_config = (
        json.loads((p / "config.json").read_text()) for p in (folder, theirs)
    )
    ignored = ("bos_token_id", "eos_token_id", "transformers_version")
    same = [name for name in expected_config.keys() & config.keys() if name not in ignored]
    assert {name: config[name] for name in same} == {name: expected_config[name] for name in same}
    assert {"id2label", "label2id", "layer_norm_eps", "architectures"} <= set(same)


def test_hf_weights_are_marked_for_pytorch(tiny_dir, tmp_path, unchecked):
    """transformers rejects a safetensors file whose metadata does not name a known framework."""
    from safetensors import safe_open

    folder = export.export_model(str(tiny_dir), "hf", str(tmp_path / "hf")).folder
    with safe_open(folder / "model.safetensors", framework="np") as file:
        assert file.metadata() == {"format": "pt"}


def test_hf_folder_loads_bit_equal(tmp_path, unchecked):
    folder = tiny.write_model(tmp_path / "m", labels=("x", "y", "z"))
    exported = load_weights.load_weights(export.export_model(str(folder), "hf").folder)
    original = load_weights.load_weights(folder)
    assert exported.format == weight_names.HUGGING_FACE and exported.config["labels"] == (
        "x",
        "y",
        "z",
    )
    assert exported.tensors.keys() == original.tensors.keys()
    assert all(
        np.array_equal(exported.tensors[name], original.tensors[name]) for name in exported.tensors
    )


def test_pretraining_model_as_transformers_writes_it(tmp_path, unchecked):
    theirs = REFERENCE / "tiny_hf_pretraining"
    result = export.export_model(str(theirs), "hf", str(tmp_path / "hf"))
    ours, expected = (load_file(p / "model.safetensors") for p in (result.folder, theirs))
    assert ours.keys() == expected.keys()
    assert all(np.array_equal(ours[name], expected[name]) for name in expected)
    assert file_names(result.folder) & TOKENIZER == set()  # it has no vocabulary
    for form in ("onnx", "paddle_inference"):
        with pytest.raises(WeightsError, match="pre-training model, and .* --format hf"):
            export.export_model(str(theirs), form, str(tmp_path / form))


def test_tokenizer_json_encodes_like_our_tokenizer(tiny_dir, tmp_path, unchecked):
    from tokenizers import Tokenizer

    folder = export.export_model(str(tiny_dir), "hf", str(tmp_path / "hf")).folder
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = source.load_source(str(tiny_dir))
    batches = sample.make_batches(model)
    assert sum(bool(batch.texts) for batch in batches) >= 3
    for batch in batches:
        for row, (first, second) in enumerate(batch.texts):
            encoding = tokenizer.encode(first, second) if second else tokenizer.encode(first)
            length = int(batch.inputs["attention_mask"][row].sum())
            assert encoding.ids == batch.inputs["input_ids"][row, :length].tolist()
            assert encoding.type_ids == batch.inputs["token_type_ids"][row, :length].tolist()


def test_the_sample_has_several_shapes_and_padding(tiny_dir):
    for folder in (tiny_dir, REFERENCE / "tiny_hf_pretraining"):
        batches = [batch.inputs for batch in sample.make_batches(source.load_source(str(folder)))]
        assert len({batch["input_ids"].shape for batch in batches}) >= 3
        assert any((batch["attention_mask"] == 0).any() for batch in batches)
        assert any(batch["token_type_ids"].any() for batch in batches)


def test_an_export_with_wrong_logits_is_not_written(tiny_dir, tmp_path, monkeypatch):
    """A weight that is off by 0.0005 is detected, and an earlier export is kept."""
    out = tmp_path / "onnx"
    export.export_model(str(tiny_dir), "onnx", str(out))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    original = source.ExportSource.tensors

    def changed(self):
        tensors = original(self)
        tensors["classifier.bias"] = tensors["classifier.bias"] + np.float32(5e-4)
        return tensors

    monkeypatch.setattr(source.ExportSource, "tensors", changed)
    with pytest.raises(RunError, match="the export is wrong: .*nothing was written"):
        export.export_model(str(tiny_dir), "onnx", str(out), overwrite=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert file_names(tmp_path) == {"onnx"}


@pytest.mark.parametrize(
    "expected, outputs",
    [
        ([[0.5]], [[0.7]]),
        ([[0.5, 0.5]], [[0.5, np.nan]]),
        ([[0.5], [0.5]], [[0.5], [np.nan]]),  # in the second batch only
        ([[0.5], [np.inf]], [[0.5], [0.5]]),  # makes the tolerance infinite as well
    ],
)
def test_wrong_or_non_finite_logits_fail_the_check(
    tiny_dir, tmp_path, monkeypatch, expected, outputs
):
    def as_arrays(batches):
        return [[np.array([logits], np.float32)] for logits in batches]

    model_outputs = iter(as_arrays(expected))
    monkeypatch.setattr(source.ExportSource, "outputs", lambda *_: next(model_outputs))
    monkeypatch.setattr(check, "_run_checker", lambda *_: ({"runtime": "x"}, as_arrays(outputs)))
    batches = [sample.SampleBatch([], {"input_ids": np.zeros((1, 2))})] * len(expected)
    model = source.load_source(str(tiny_dir))
    with pytest.raises(RunError, match="the export is wrong: .* differ by up to"):
        check.compare_logits("onnx", tmp_path, model, batches, sys.executable)


def test_tolerance_is_relative_to_large_logits():
    """1e-5 for logits up to 1, and 1e-5 of the largest logit above."""
    assert check.CheckResult(max_logit=0.2).tolerance == pytest.approx(1e-5)
    assert check.CheckResult(max_logit=30.0).tolerance == pytest.approx(3e-4)
    assert check.find_checker_python(None) == sys.executable


def test_the_models_card_is_copied_and_its_usage_section_replaced(tiny_dir, tmp_path, unchecked):
    folder = shutil.copytree(tiny_dir, tmp_path / "model_3")
    facts = model_card.CardFacts("Toy <b>", "classification", 3, labels=("no", "yes"))
    model_card.card_writer(facts)(folder)
    front, body = model_card.split_front_matter(
        (export.export_model(str(folder), "onnx").folder / "README.md").read_text()
    )
    assert front["library_name"] == "onnxruntime" and front["tags"][-1] == "onnx"
    assert body.startswith("# Toy \\<b\\>, step 3") and body.count(model_card.USAGE_HEADING) == 1
    assert "unchecked (turned off)" in body and "BertTokenizer.from_pretrained" not in body
    without_card = export.export_model(str(tiny_dir), "hf", str(tmp_path / "bare")).folder
    assert "| 1 | yes |" in (without_card / "README.md").read_text()


@pytest.mark.parametrize("form", ["onnx", "paddle_inference"])
def test_the_code_in_the_card_runs(tiny_dir, tmp_path, unchecked, monkeypatch, capsys, form):
    export.export_model(str(tiny_dir), form, str(tmp_path / "made"))
    card = (tmp_path / "made" / "README.md").read_text()
    monkeypatch.chdir(tmp_path)
    exec(card.split("```python\n")[1].split("```")[0], {})
    model = source.load_source(str(tiny_dir))
    inputs = sample._encode_batch(model, [("A text.", None), ("And another one.", None)])
    expected = model.outputs(inputs.inputs)[0]
    assert (
        str(expected.shape[0]) and str(np.round(expected[0, 0], 4))[:5] in capsys.readouterr().out
    )


@pytest.mark.slow
@pytest.mark.skipif(not PEERS.is_file(), reason="no .venv-peers (benchmarks/peers/setup.sh)")
@pytest.mark.parametrize("model", ["classifier", "regression", "pretraining"])
def test_transformers_gives_the_same_logits(tmp_path, model):
    labels = ("no", "yes", "maybe") if model == "classifier" else ()
    folder = REFERENCE / "tiny_hf_pretraining"
    if model != "pretraining":
        folder = tiny.write_model(tmp_path / "m", labels=labels, layer_norm_eps=1e-4)
    result = export.export_model(str(folder), "hf", str(tmp_path / "hf"), checker=str(PEERS))
    assert "transformers" in result.check.runtime and result.check.max_difference <= 1e-5


@pytest.mark.real_weights
def test_real_weights_are_exported_unchanged(minilm_dir, tmp_path, unchecked):
    """all-MiniLM-L6-v2 with a new head: Hugging Face names, every value unchanged."""
    from bert_paddle.models import classifier, model_state, tokenizer

    weights = load_weights.load_weights(minilm_dir)
    built = classifier.build_classifier(weights, ("no", "yes"), seed=1, need_head=False)
    folder = tmp_path / "m"
    folder.mkdir()
    model_state.model_writer(built.model, classifier.classifier_config(("no", "yes"), "x"))(folder)
    tokenizer.load_tokenizer(minilm_dir).save(folder)
    out = export.export_model(str(folder), "hf").folder
    stored, theirs = (
        load_file(out / "model.safetensors"),
        load_file(minilm_dir / "model.safetensors"),
    )
    for name, value in theirs.items():
        if name not in weight_names.BERT.buffers:
            assert np.array_equal(stored[f"bert.{name}"], value), name
    assert hugging_face.build_config(source.load_source(str(folder)))["num_hidden_layers"] == 6
    result = export.export_model(str(folder), "onnx")
    assert result.folder.is_dir()


@pytest.mark.parametrize("page", ["EXPORT.md", "EXPORT_zh.md"])
def test_every_command_in_the_document_runs(
    page, tiny_dir, tmp_path, monkeypatch, unchecked, capsys
):
    """Verbatim, in a folder with the model it names."""
    from bert_paddle import __main__ as program

    monkeypatch.chdir(tmp_path)
    blocks = (ROOT / "docs" / page).read_text(encoding="utf-8").split("```shell\n")[1:]
    lines = [line for block in blocks for line in block.split("```")[0].splitlines() if line]
    assert len(lines) >= 4
    for line in dict.fromkeys(lines):
        name, *argv = line.split()
        assert name == "bert-paddle"
        if not Path(argv[1]).exists():
            shutil.copytree(tiny_dir, argv[1])
            rows = [{"text_a": "good film", "label": label} for label in ("no", "no", "yes")]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            Path(argv[1]).with_name("dev_predictions.jsonl").write_text(text)
        monkeypatch.setattr(sys, "argv", [name, *argv])
        program.run(argv)
    assert capsys.readouterr().out.count("exported: ") == len(set(lines))
