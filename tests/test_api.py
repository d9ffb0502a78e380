"""The Python API: the unmodified example, flags as keywords, mistakes as typed errors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from bert_paddle import api
from bert_paddle.common.errors import FlagError, UserError

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tiny.write_sst2(tmp_path_factory.mktemp("data") / "SST-2").parent


@pytest.fixture
def required_flags(tiny_dir, data, tmp_path) -> dict:
    folders = {"model_name_or_path": tiny_dir, "data_dir": data, "output_dir": tmp_path / "out"}
    return folders | {"max_seq_length": 32, "report": False}


def test_the_example_runs_from_outside_the_repository(tiny_dir, data, tmp_path):
    process = subprocess.run(
        [sys.executable, ROOT / "examples/classify_reviews.py", tiny_dir, data, tmp_path / "out"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        | {"XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"]},  # compiled kernels, list of fonts
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    *_, accuracy, positive, negative, refused = process.stdout.splitlines()
    assert accuracy.startswith("accuracy ") and accuracy.endswith(f"{tmp_path / 'out/model_6'}")
    assert positive.endswith("): what a gripping film !") and negative.endswith(
        "): the plot is dull ."
    )
    assert {positive.split(" ")[0], negative.split(" ")[0]} <= {"negative", "positive"}
    assert refused.startswith("refused: ") and "SST-2, which has one text" in refused


def test_flags_are_keywords_and_settings_are_kept(required_flags, tmp_path):
    run = api.fine_tune("sst2", per_device_train_batch_size=16, max_steps=2, **required_flags)
    assert run.results["eval_samples"] == 16 and run.results["global_step"] == 2
    settings = (tmp_path / "out" / "settings.yaml").read_text()
    assert "\nbatch_size: 16 " in settings and "\nmax_steps: 2 " in settings


def test_a_run_without_evaluation_returns_its_last_model(required_flags):
    run = api.fine_tune("sst2", do_train=True, max_steps=3, save_steps=2, **required_flags)
    assert run.model_dir == run.output_dir / "model_3" and "eval_loss" not in run.results
    flags = required_flags | {"output_dir": run.output_dir / "e"}
    with pytest.raises(FlagError, match="omit model_name_or_path"):
        api.evaluate(run.model_dir, "sst2", **flags)
    del flags["model_name_or_path"]
    values = api.evaluate(run.model_dir, "sst2", **flags)
    assert 0 <= values["eval_accuracy"] <= 1 and "train_runtime" not in values


def test_load_best_model_at_end_returns_the_best_model(required_flags):
    run = api.fine_tune(
        "sst2",
        max_steps=6,
        save_steps=1,
        learning_rate=1e-2,
        load_best_model_at_end=True,
        **required_flags,
    )
    assert run.model_dir == run.output_dir / f"model_{run.results['best_step']}"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"learning_rat": 1}, "learning_rat is not a flag of bert-paddle glue, did you mean"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"do_train": False, "do_eval": True}, "omit do_train, or set it to True"),
        ({"n_gpu": 2}, "n_gpu must be 0 or 1 here"),
        ({"seeds": [1, 2]}, "seeds starts processes: call this once for each seed"),
        ({"task_name": "sst3"}, "did you mean SST-2"),
        ({"output_dir": None}, "--output_dir is required"),
        ({"seed": "x", "max_steps": 0}, "max_steps must be at least 1.*seed must be a number"),
    ],
)
def test_mistakes_are_flag_errors(required_flags, flags, message):
    with pytest.raises(FlagError, match=message):
        api.fine_tune(**({"task_name": "sst2"} | required_flags | flags))
    assert not Path(required_flags["output_dir"]).exists()


def test_a_model_without_a_classifier_is_a_typed_error(tmp_path):
    with pytest.raises(UserError, match="fine-tune it first"):
        api.load(tiny.write_encoder(tmp_path / "encoder"))


def test_importing_the_api_imports_nothing_heavy():
    probe = "import sys; from bert_paddle import api; print({'paddle', 'yaml'} & {*sys.modules})"
    process = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True
    )
    assert process.stdout == "set()\n", process.stderr
