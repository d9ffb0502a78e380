"""Half-written and damaged checkpoints are refused by every command that loads a model."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file, save_file

from bert_paddle import api
from bert_paddle.cli import predict
from bert_paddle.common import atomic_files, run_log
from bert_paddle.common.errors import DataError, RunError, WeightsError
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args
from bert_paddle.models import model_state
from bert_paddle.pretrain import pretrain
from bert_paddle.pretrain.args import PretrainArgs
from bert_paddle.training import checkpoint, train_state
from bert_paddle.training.verify_model_dir import verify_model_dir


@pytest.fixture
def checkpoint_dir(tiny_dir, tmp_path) -> Path:
    """A checkpoint as training writes it."""
    folder = shutil.copytree(tiny_dir, tmp_path / "run" / "model_7")
    (folder / "README.md").write_text("# a card\n")
    (folder / "state").mkdir()
    (folder / checkpoint.STATE_FILE).write_text("{}")
    (folder / checkpoint.OPTIMIZER_FILE).write_bytes(b"moments")
    atomic_files.write_manifest(folder, checkpoint.MANIFEST_FILE, train_state.VERSION)
    return folder


def flip(path: Path) -> None:
    """Change the last byte, without changing the size."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    path.write_bytes(content)


DAMAGES = [
    pytest.param(lambda f: (f / "manifest.json").unlink(), "it has no manifest.json", id="half"),
    pytest.param(
        lambda f: flip(f / model_state.WEIGHTS_FILE), "differs from its checksum", id="bytes"
    ),
]


def set_weight_to_nan(folder: Path) -> Path:
    """Replace one weight by NaN."""
    tensors = load_file(folder / model_state.WEIGHTS_FILE)
    tensors["classifier.bias"][0] = np.nan
    save_file(tensors, folder / model_state.WEIGHTS_FILE, metadata={"format": "np"})
    return folder


def glue(model_dir: Path, out: Path, *flags: str) -> dict:
    data = out.parent / "data"
    if not data.exists():
        tiny.write_sst2(data / "SST-2")
    argv = f"--task_name sst-2 --model_name_or_path {model_dir} --data_dir {data} "
    argv += f"--output_dir {out} --batch_size 8 --max_seq_length 32 --report 0"
    return finetune.run(parse_args([*argv.split(), *flags]))


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_predict_and_api_refuse_it(checkpoint_dir, damage, message):
    damage(checkpoint_dir)
    with pytest.raises(WeightsError, match=message):
        predict.main([str(checkpoint_dir), "a text", "--json"])
    with pytest.raises(WeightsError, match=message):
        api.load(checkpoint_dir)


@pytest.mark.parametrize("action", ["--do_eval", "--do_predict", "--max_steps=1"])
@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_run_glue_refuses_it(checkpoint_dir, tmp_path, damage, message, action):
    damage(checkpoint_dir)
    with pytest.raises(WeightsError, match=message):
        glue(checkpoint_dir, tmp_path / "out", action)
    assert not (tmp_path / "out" / "all_results.json").exists()


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_run_pretrain_refuses_it(checkpoint_dir, tmp_path, damage, message):
    damage(checkpoint_dir)
    args = PretrainArgs(
        model_name_or_path=str(checkpoint_dir),
        output_dir=str(tmp_path / "out"),
        input_dir=str(tmp_path),
        init_from=str(checkpoint_dir),
    )
    with pytest.raises(WeightsError, match=message):
        pretrain._load_init_weights(args, run_log.RunLog(active=False))


def test_edited_card_and_deleted_state_are_accepted(checkpoint_dir):
    assert verify_model_dir(checkpoint_dir) == checkpoint_dir
    (checkpoint_dir / "README.md").write_text("# my own words\n")
    shutil.rmtree(checkpoint_dir / "state")
    assert len(api.load(checkpoint_dir).predict(["a film"])) == 1


def test_run_folder_error_names_its_model(checkpoint_dir):
    with pytest.raises(WeightsError, match="is a run's folder: give .*model_7"):
        predict.main([str(checkpoint_dir.parent), "a text"])


def test_folder_of_runs_error_names_the_newest_model_of_each(tiny_dir, tmp_path):
    for name in ("one/model_90", "one/model_100", "two/model_5"):
        shutil.copytree(tiny_dir, tmp_path / name)
    with pytest.raises(WeightsError) as caught:
        predict.main([str(tmp_path), "a text"])
    message = str(caught.value)
    assert "did you mean" in message
    assert "one/model_100 or " in message and "two/model_5?" in message
    assert "model_90" not in message


def test_non_finite_logits_are_an_error(tmp_path, capsys):
    folder = set_weight_to_nan(
        tiny.write_model(tmp_path / "model", labels=("negative", "positive"))
    )
    with pytest.raises(RunError, match="non-finite logits for 2 of 2 row"):
        api.load(folder).predict(["a film", "a plot"])
    with pytest.raises(RunError, match="use another checkpoint"):
        predict.main([str(folder), "a film", "--json"])
    assert "NaN" not in capsys.readouterr().out
    with pytest.raises(RunError, match="non-finite logits for 8 of 8 row"):
        glue(folder, tmp_path / "out", "--do_predict")
    assert not (tmp_path / "out" / "predictions").exists()


@pytest.mark.parametrize(
    ("texts", "pairs", "message"),
    [
        ([1], None, r"texts\[0\] is of type int, not a text"),
        (["a", None], None, r"texts\[1\] is of type NoneType"),
        ([""], None, r"texts\[0\] is empty"),
        (["a", " \n"], None, r"texts\[1\] is empty"),
        (["a"], [b"b"], r"pairs\[0\] is of type bytes"),
        (["a"], [""], r"pairs\[0\] is empty"),
    ],
)
def test_invalid_text_is_refused_with_its_index(tiny_dir, texts, pairs, message):
    with pytest.raises(DataError, match=message):
        api.load(tiny_dir).predict(texts, pairs)


def test_seeds_are_named_once_in_the_error(tiny_dir, tmp_path):
    with pytest.raises(Exception) as caught:
        api.fine_tune("sst2", model_name_or_path=tiny_dir, output_dir=tmp_path / "o", seeds=[1, 2])
    assert str(caught.value).count("seeds") == 1
