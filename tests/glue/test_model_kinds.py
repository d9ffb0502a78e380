"""Models that the programs refuse, and what they say of a tokenizer: complete command lines."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file, save_file

from bert_paddle import api
from bert_paddle.cli import export as export_command
from bert_paddle.cli import predict as predict_command
from bert_paddle.cli import submission as submission_command
from bert_paddle.common.errors import UserError, WeightsError
from bert_paddle.glue import finetune, predictor
from bert_paddle.glue.args import parse_args
from bert_paddle.models.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def sst2_dir(tmp_path_factory) -> Path:
    return tiny.write_sst2(tmp_path_factory.mktemp("glue") / "SST-2").parent


@pytest.fixture
def changed(tiny_dir, tmp_path):
    """Call to get a copy of the tiny model with changes of its JSON files: name={key: value}."""

    def make(source: Path = tiny_dir, **files: dict) -> Path:
        folder = shutil.copytree(source, tmp_path / "model")
        (folder / "manifest.json").unlink(missing_ok=True)
        for name, values in files.items():
            path = folder / f"{name}.json"
            content = json.loads(path.read_text()) if path.is_file() else {}
            path.write_text(json.dumps(content | values))
        return folder

    return make


@pytest.fixture
def fine_tune(sst2_dir, tmp_path):
    def call(model: Path, *flags: str) -> dict:
        argv = f"--task_name sst-2 --model_name_or_path {model} --data_dir {sst2_dir} --report 0 "
        argv += f"--output_dir {tmp_path / 'out'} --max_seq_length 32 --max_steps 2"
        return finetune.run(parse_args([*argv.split(), *flags]))

    return call


def write_run_of(model: Path, folder: Path) -> Path:
    """A run's folder whose predictions come from `model`."""
    (folder / "predictions").mkdir(parents=True)
    (folder / "predictions" / "SST-2.tsv").write_text("index\tprediction\n")
    (folder / "all_results.json").write_text(json.dumps({"data": "glue"}))
    (folder / "run.json").write_text(json.dumps({"model": str(model)}))
    return folder


def test_several_labels_per_text_are_refused_where_one_is_expected(changed, fine_tune, tmp_path):
    """What takes such a model: tests/glue/custom/test_multi_label_run.py."""
    model = changed(config={"problem_type": "multi_label_classification"})
    run = write_run_of(model, tmp_path / "run")
    for call in (
        lambda: fine_tune(model, "--do_eval"),
        lambda: submission_command.main([str(run), "-o", str(tmp_path / "x.zip")]),
    ):
        with pytest.raises(UserError, match="several classes can be true of one text") as caught:
            call()
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "x.zip").exists()


def test_a_model_for_several_labels_is_trained_to_give_one(changed, fine_tune, tmp_path):
    fine_tune(changed(config={"problem_type": "multi_label_classification"}), "--do_train")
    config = json.loads((tmp_path / "out" / "model_2" / "config.json").read_text())
    assert config["problem_type"] == "single_label_classification"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ranking", "problem_type 'ranking': which is not known"),
        ("regression", "problem_type 'regression': the model has 2 outputs"),
    ],
)
def test_kinds_that_are_not_supported_are_refused_everywhere(
    changed, fine_tune, tmp_path, kind, message
):
    model = changed(config={"problem_type": kind})
    run = write_run_of(model, tmp_path / "run")
    zip_file = tmp_path / "x.zip"
    for call in (
        lambda: fine_tune(model),
        lambda: fine_tune(model, "--do_eval"),
        lambda: predict_command.main([str(model), "a film"]),
        lambda: export_command.main([str(model), "--format", "hf", "-o", str(tmp_path / "e")]),
        lambda: api.load(model),
        lambda: submission_command.main([str(run), "-o", str(zip_file)]),
    ):
        with pytest.raises(UserError, match=message) as caught:
            call()
        assert str(model / "config.json") in str(caught.value)
    assert not zip_file.exists() and not (tmp_path / "e").exists()


def test_the_outputs_in_the_weights_count_where_the_config_names_no_classes(changed):
    no_names = {"id2label": None, "label2id": None}
    model = changed(config={"problem_type": "regression", **no_names})
    with pytest.raises(WeightsError, match="has 2 outputs, but only one score"):
        api.load(model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"problem_type": None}))
    assert not api.load(model).is_regression  # as in transformers: two outputs are two classes
    tensors = load_file(model / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        tensors[name] = np.ascontiguousarray(tensors[name][..., :1])
    save_file(tensors, model / "model.safetensors", metadata={"format": "np"})
    assert api.load(model).is_regression  # and one output is a score
    kind = {"problem_type": "single_label_classification"}
    (model / "config.json").write_text(json.dumps(config | kind))
    with pytest.raises(WeightsError, match="one class only"):
        api.load(model)


def test_another_tokenizer_is_refused_before_the_model_is_loaded(changed, fine_tune, tmp_path):
    model = changed(tokenizer_config={"tokenizer_class": "BertJapaneseTokenizer"})
    (model / "model.safetensors").write_bytes(b"not read")
    for call in (
        lambda: fine_tune(model),
        lambda: predict_command.main([str(model), "a film"]),
        lambda: export_command.main([str(model), "--format", "hf", "-o", str(tmp_path / "e")]),
        lambda: api.load(model),
    ):
        with pytest.raises(WeightsError, match="its tokenizer is BertJapaneseTokenizer"):
            call()


def test_fine_tuning_tells_the_case_and_the_share_of_unknown(changed, fine_tune, capsys, tmp_path):
    model = changed(tokenizer_config={"do_lower_case": False})
    fine_tune(model)
    told = capsys.readouterr().err
    assert f"tokenizer: {model / 'vocab.txt'}: text keeps its case (do_lower_case in" in told
    assert "words with capitals are split or become [UNK]" in told
    assert "[UNK]: 0.00% of " in told and "train.tsv, 0.00% of " in told
    assert "tell the model nothing" not in told
    fine_tune(model, "--do_lower_case", "1", "--overwrite_output_dir")
    assert "text is lower-cased (--do_lower_case 1)" in capsys.readouterr().err
    assert load_tokenizer(tmp_path / "out" / "model_2").do_lower_case is True


def test_many_unknown_words_are_a_warning(changed, fine_tune, capsys, tmp_path):
    train = tmp_path / "train.csv"
    rows = [f"THE film {i},{'yes' if i % 2 else 'no'}\n" for i in range(20)]
    train.write_text("text,label\n" + "".join(rows))
    model = changed(tokenizer_config={"do_lower_case": False})
    argv = f"--train_file {train} --model_name_or_path {model} --output_dir {tmp_path / 'own'}"
    finetune.run(parse_args([*argv.split(), "--max_steps=1", "--report=0", "--max_seq_length=32"]))
    told = capsys.readouterr().err
    assert "of the word pieces are [UNK], which tell the model nothing" in told
    assert "the text keeps its case, unlike the vocabulary (--do_lower_case 1)" in told


def test_predict_and_export_honour_the_flag_and_tell_it(changed, capsys, tmp_path):
    model = changed(tokenizer_config={"do_lower_case": False})
    predict_command.main([str(model), "A Good FILM", "--do_lower_case", "1"])
    lower = capsys.readouterr()
    predict_command.main([str(model), "a good film"])
    assert lower.out.split("\t")[:2] == capsys.readouterr().out.split("\t")[:2]
    assert "text is lower-cased (--do_lower_case 1)" in lower.err
    target = tmp_path / "exported"
    argv = [str(model), "--format", "paddle_inference", "-o", str(target), "--do_lower_case", "1"]
    export_command.main(argv)
    assert "text is lower-cased (--do_lower_case 1)" in capsys.readouterr().err
    settings = json.loads((target / "tokenizer_config.json").read_text())
    assert settings["do_lower_case"] is True
    normalizer = json.loads((target / "tokenizer.json").read_text())["normalizer"]
    assert normalizer["lowercase"] is True


def test_added_tokens_are_trained_and_saved(tiny_dir, changed, fine_tune, sst2_dir, tmp_path):
    new = len(tiny.VOCAB)
    model = changed(added_tokens={"goodish": new})
    with pytest.raises(WeightsError, match=rf"'goodish' has the id {new}, but the model has {new}"):
        fine_tune(model)
    shutil.rmtree(model)
    larger = tiny.write_model(tmp_path / "larger", vocab_size=new + 1)
    model = changed(larger, added_tokens={"goodish": new})
    fine_tune(model)
    saved = tmp_path / "out" / "model_2"
    assert load_tokenizer(saved).tokenize_to_ids(["a goodish film"])[0][1] == new
    assert len(api.load(saved).predict(["goodish"])) == 1


def test_predictions_of_unknown_text_are_a_warning(tmp_path):
    lines: list[str] = []
    model = predictor.Predictor(str(tiny.write_model(tmp_path / "m")), None, None, lines.append)
    model.predict(["the cat sat"])
    assert not any("[UNK]" in line for line in lines)
    model.predict(["\u1019\u103c\u1014\u103a\u1019\u102c"])
    assert "100% of the texts' word pieces are [UNK]" in lines[-1]
