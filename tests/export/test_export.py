"""`bert-paddle export`: what it writes, how it is checked in another process, what it refuses."""

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
ALWAYS = {"config.json", "export.json", "README.md"} | TOKENIZER


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def unchecked(monkeypatch):
    """Exports are not compared: for tests of what stands around it."""
    monkeypatch.setattr(check, "compare", lambda *a: check.Checked(unchecked="not asked for"))


def test_onnx_is_checked_in_another_process_and_says_so(tiny_dir, tmp_path, capsys):
    out = tmp_path / "made"
    command.main([str(tiny_dir), "--format", "onnx", "-o", str(out)])
    said = capsys.readouterr().out
    assert f"exported: {out} (onnx, " in said
    assert "checked by ONNX Runtime" in said and "largest difference of logits" in said
    assert names_in(out) == ALWAYS | {"model.onnx"}
    record = json.loads((out / "export.json").read_text())
    assert record["format"] == "onnx" and 0 <= record["largest_difference"] <= 1e-5
    assert record["from"] == tiny_dir.name  # and no path of this machine
    assert names_in(tmp_path) == {"made"}  # nothing is left beside


def test_paddle_inference_is_checked_in_another_process(tmp_path):
    """A regression, whose logits are [rows, 1]."""
    folder = tiny.write_model(tmp_path / "m", labels=())
    done = export.export(str(folder), "paddle_inference")
    assert done.folder == tmp_path / "m_paddle_inference"
    assert "Paddle Inference" in done.checked.by and done.checked.difference <= 1e-5
    assert done.checked.rows == 10 and done.checked.batches == 4
    assert names_in(done.folder) == ALWAYS | {"model.json", "model.pdiparams"}


def test_without_transformers_the_result_says_unchecked(tiny_dir, tmp_path, capsys):
    command.main([str(tiny_dir), "--format", "hf", "-o", str(tmp_path / "hf")])
    assert "unchecked (transformers is not installed for " in capsys.readouterr().out
    assert json.loads((tmp_path / "hf/export.json").read_text())["largest_difference"] is None


def test_hf_folder_has_transformers_names_shapes_and_settings(tmp_path, unchecked):
    """Against a folder that transformers has written of such a model itself."""
    theirs = REFERENCE / "tiny_hf"
    folder = export.export(str(theirs), "hf", str(tmp_path / "hf")).folder
    assert names_in(folder) == ALWAYS | {"model.safetensors"}
    ours, wanted = (load_file(place / "model.safetensors") for place in (folder, theirs))
    assert ours.keys() == wanted.keys()
    for name, value in wanted.items():
        assert np.array_equal(ours[name], value), name
    config, known = (json.loads((p / "config.json").read_text()) for p in (folder, theirs))
    about = ("bos_token_id", "eos_token_id", "transformers_version")
    same = [name for name in known.keys() & config.keys() if name not in about]
    assert {name: config[name] for name in same} == {name: known[name] for name in same}
    assert {"id2label", "label2id", "layer_norm_eps", "architectures"} <= set(same)


def test_hf_weights_are_marked_for_pytorch(tiny_dir, tmp_path, unchecked):
    """transformers refuses a safetensors file whose metadata name no framework it knows."""
    from safetensors import safe_open

    folder = export.export(str(tiny_dir), "hf", str(tmp_path / "hf")).folder
    with safe_open(folder / "model.safetensors", framework="np") as file:
        assert file.metadata() == {"format": "pt"}


def test_hf_folder_comes_back_bit_equal(tmp_path, unchecked):
    folder = tiny.write_model(tmp_path / "m", labels=("x", "y", "z"))
    back = load_weights.load_weights(export.export(str(folder), "hf").folder)
    before = load_weights.load_weights(folder)
    assert back.kind == weight_names.HUGGING_FACE and back.config["labels"] == ("x", "y", "z")
    assert back.tensors.keys() == before.tensors.keys()
    assert all(np.array_equal(back.tensors[name], before.tensors[name]) for name in back.tensors)


def test_pretraining_model_as_transformers_writes_it(tmp_path, unchecked):
    theirs = REFERENCE / "tiny_hf_pretraining"
    done = export.export(str(theirs), "hf", str(tmp_path / "hf"))
    ours, wanted = (load_file(p / "model.safetensors") for p in (done.folder, theirs))
    assert ours.keys() == wanted.keys()
    assert all(np.array_equal(ours[name], wanted[name]) for name in wanted)
    assert names_in(done.folder) & TOKENIZER == set()  # it has no vocabulary
    for form in ("onnx", "paddle_inference"):
        with pytest.raises(WeightsError, match="pre-training model, and .* --format hf"):
            export.export(str(theirs), form, str(tmp_path / form))


def test_tokenizer_json_encodes_as_the_model_was_trained(tiny_dir, tmp_path, unchecked):
    from tokenizers import Tokenizer

    folder = export.export(str(tiny_dir), "hf", str(tmp_path / "hf")).folder
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = source.load(str(tiny_dir))
    batches = sample.batches(model)
    assert sum(bool(batch.texts) for batch in batches) >= 3
    for batch in batches:
        for number, (first, second) in enumerate(batch.texts):
            row = made.encode(first, second) if second else made.encode(first)
            length = int(batch.inputs["attention_mask"][number].sum())
            assert row.ids == batch.inputs["input_ids"][number, :length].tolist()
            assert row.type_ids == batch.inputs["token_type_ids"][number, :length].tolist()


def test_the_sample_has_several_shapes_and_padding(tiny_dir):
    for folder in (tiny_dir, REFERENCE / "tiny_hf_pretraining"):
        batches = [batch.inputs for batch in sample.batches(source.load(str(folder)))]
        assert len({batch["input_ids"].shape for batch in batches}) >= 3
        assert any((batch["attention_mask"] == 0).any() for batch in batches)
        assert any(batch["token_type_ids"].any() for batch in batches)


def test_an_export_that_computes_something_else_is_not_kept(tiny_dir, tmp_path, monkeypatch):
    """Half a thousandth on one weight is seen, and an earlier export stays as it was."""
    out = tmp_path / "onnx"
    export.export(str(tiny_dir), "onnx", str(out))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    real = source.ExportSource.tensors

    def changed(self):
        tensors = real(self)
        tensors["classifier.bias"] = tensors["classifier.bias"] + np.float32(5e-4)
        return tensors

    monkeypatch.setattr(source.ExportSource, "tensors", changed)
    with pytest.raises(RunError, match="the export is wrong: .*nothing was kept"):
        export.export(str(tiny_dir), "onnx", str(out), overwrite=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert names_in(tmp_path) == {"onnx"}


def test_scale_of_the_tolerance():
    """1e-5 up to logits of 1, and a hundred-thousandth of them beyond."""
    assert check.Checked(largest=0.2).allowed == pytest.approx(1e-5)
    assert check.Checked(largest=30.0).allowed == pytest.approx(3e-4)
    assert check.interpreter(None) == sys.executable


def test_the_card_of_the_model_goes_along_with_how_to_load_the_export(
    tiny_dir, tmp_path, unchecked
):
    folder = shutil.copytree(tiny_dir, tmp_path / "model_3")
    facts = model_card.CardFacts("Toy <b>", "classification", 3, labels=("no", "yes"))
    model_card.card_writer(facts)(folder)
    front, body = model_card.parts(
        (export.export(str(folder), "onnx").folder / "README.md").read_text()
    )
    assert front["library_name"] == "onnxruntime" and front["tags"][-1] == "onnx"
    assert body.startswith("# Toy \\<b\\>, step 3") and body.count(model_card.USE) == 1
    assert "unchecked (not asked for)" in body and "BertTokenizer.from_pretrained" not in body
    bare = export.export(str(tiny_dir), "hf", str(tmp_path / "bare")).folder
    assert "| 1 | yes |" in (bare / "README.md").read_text()


@pytest.mark.parametrize("form", ["onnx", "paddle_inference"])
def test_the_code_of_an_exports_card_runs(tiny_dir, tmp_path, unchecked, monkeypatch, capsys, form):
    export.export(str(tiny_dir), form, str(tmp_path / "made"))
    card = (tmp_path / "made" / "README.md").read_text()
    monkeypatch.chdir(tmp_path)
    exec(card.split("```python\n")[1].split("```")[0], {})
    model = source.load(str(tiny_dir))
    inputs = sample._encoded(model, [("A text.", None), ("And another one.", None)])
    wanted = check._outputs(model, inputs)[0]
    assert str(wanted.shape[0]) and str(np.round(wanted[0, 0], 4))[:5] in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not PEERS.is_file(), reason="no .venv-peers (benchmarks/peers/setup.sh)")
@pytest.mark.parametrize("kind", ["classifier", "regression", "pretraining"])
def test_transformers_gives_the_same_logits(tmp_path, kind):
    labels = ("no", "yes", "maybe") if kind == "classifier" else ()
    folder = REFERENCE / "tiny_hf_pretraining"
    if kind != "pretraining":
        folder = tiny.write_model(tmp_path / "m", labels=labels, layer_norm_eps=1e-4)
    done = export.export(str(folder), "hf", str(tmp_path / "hf"), checker=str(PEERS))
    assert "transformers" in done.checked.by and done.checked.difference <= 1e-5


@pytest.mark.real_weights
def test_real_weights_go_out_and_come_back(minilm_dir, tmp_path, unchecked):
    """all-MiniLM-L6-v2 with a new head: Hugging Face names out, every value as it was."""
    from bert_paddle.models import classifier, tokenizer

    saved = load_weights.load_weights(minilm_dir)
    built = classifier.build_classifier(saved, ("no", "yes"), seed=1, need_head=False)
    folder = tmp_path / "m"
    folder.mkdir()
    classifier.model_writer(built.model, classifier.classifier_config(("no", "yes"), "x"))(folder)
    tokenizer.load(minilm_dir).save(folder)
    out = export.export(str(folder), "hf").folder
    stored, theirs = (
        load_file(out / "model.safetensors"),
        load_file(minilm_dir / "model.safetensors"),
    )
    for name, value in theirs.items():
        if name not in weight_names.BERT.buffers:
            assert np.array_equal(stored[f"bert.{name}"], value), name
    assert hugging_face.config(source.load(str(folder)))["num_hidden_layers"] == 6
    done = export.export(str(folder), "onnx")
    assert done.folder.is_dir()


@pytest.mark.parametrize("page", ["EXPORT.md", "EXPORT_zh.md"])
def test_every_command_of_the_page_runs(page, tiny_dir, tmp_path, monkeypatch, unchecked, capsys):
    """As it stands there, in a folder where the model it names lies."""
    from bert_paddle import __main__ as program

    monkeypatch.chdir(tmp_path)
    blocks = (ROOT / "docs" / page).read_text(encoding="utf-8").split("```shell\n")[1:]
    lines = [line for block in blocks for line in block.split("```")[0].splitlines() if line]
    assert len(lines) >= 4
    for line in dict.fromkeys(lines):
        name, *words = line.split()
        assert name == "bert-paddle"
        if not Path(words[1]).exists():
            shutil.copytree(tiny_dir, words[1])
        monkeypatch.setattr(sys, "argv", [name, *words])
        program.run(words)
    assert capsys.readouterr().out.count("exported: ") == len(set(lines))
