"""What a resume recognizes by its content: data, class names, tokenizer, model; how the model is
computed; and that what the messages about a loss that is not finite advise works."""

import csv
import json
import shutil

import h5py
import pytest
import same
import shard_files
import tiny
from safetensors.numpy import load_file, save_file

from bert_paddle.common.errors import OutputError, RunError
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args as glue_args
from bert_paddle.models import model_state
from bert_paddle.models.kernels import compile_kernels
from bert_paddle.pretrain import pretrain
from bert_paddle.pretrain.args import parse_args as pretrain_args
from bert_paddle.pretrain.data import schema
from bert_paddle.training import checkpoint

RESUME = "--resume_from_checkpoint auto"


def write_csv(path, count, flip=None, names=("bad", "good")):
    """Rows of a text and its class. flip: a row that has the other class."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for i in range(count):
            word = tiny.WORDS[(7 * i) % len(tiny.WORDS)]
            label = (i + (i == flip)) % 2
            writer.writerow([f"the {('dull', 'great')[i % 2]} {word}", names[label]])


def write_shard(folder, kind, number, count, first):
    rows = shard_files.make_rows(count, first, vocab_size=tiny.CONFIG["vocab_size"])
    shard_files.write_shard(folder / schema.shard_name("t", kind, number), rows)


def run(program, place, flags=""):
    """A run of four steps with the files of a folder, into its folder `out`."""
    argv = f"--model_name_or_path {place / 'tiny'} --output_dir {place / 'out'} --report 0 "
    argv += "--max_steps 4 --save_steps 2 --logging_steps 1 "
    if program == "glue":
        argv += f"--train_file {place / 'train.csv'} --validation_file {place / 'dev.csv'} "
        argv += f"--test_file {place / 'test.csv'} --max_seq_length 16 "
        return finetune.run(glue_args((argv + flags).split()))
    argv += f"--input_dir {place / 'shards'} --init_from {place / 'tiny'} --eval_batch_size 2 "
    return pretrain.run(pretrain_args((argv + flags).split()))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with the files and the finished run of each program."""
    places = {}
    for program in ("glue", "pretrain"):
        place = places[program] = tmp_path_factory.mktemp(program)
        tiny.write_model(place / "tiny")
        for name, count in (("train", 24), ("dev", 8), ("test", 6)):
            write_csv(place / f"{name}.csv", count)
        write_shard(place / "shards", schema.TRAINING, 0, 30, 0)
        write_shard(place / "shards", schema.TEST, 0, 9, 30)
        run(program, place)
    return places


@pytest.fixture
def stopped(finished, tmp_path):
    """A function that copies a program's files and run, as it was after two steps."""

    def copy(program):
        place = tmp_path / "moved"
        shutil.copytree(finished[program], place)
        shutil.rmtree(place / "out" / "model_4")
        return place

    return copy


@pytest.mark.parametrize("program", ["glue", "pretrain"])
def test_data_model_and_output_may_lie_elsewhere(finished, stopped, capsys, program):
    place = stopped(program)
    run(program, place, RESUME)
    weights = [
        same.checkpoint_files(folder / "out" / "model_4")["model.safetensors"]
        for folder in (finished[program], place)
    ]
    assert weights[0] == weights[1]
    assert "changed" not in capsys.readouterr().err


@pytest.mark.parametrize("program", ["glue", "pretrain"])
def test_a_finished_run_resumed_into_another_folder_has_its_model_there(
    finished, tmp_path, program
):
    place = tmp_path / "copy"
    shutil.copytree(finished[program], place, ignore=shutil.ignore_patterns("out"))
    source = finished[program] / "out" / "model_4"
    run(program, place, f"--resume_from_checkpoint {source}")
    assert (
        same.checkpoint_files(place / "out" / "model_4")["model.safetensors"]
        == (same.checkpoint_files(source)["model.safetensors"])
    )


def change_dev_label(place):
    write_csv(place / "dev.csv", 8, flip=3)


def rename_classes(place):
    for name, count in (("train", 24), ("dev", 8)):
        write_csv(place / f"{name}.csv", count, names=("bad2", "good2"))
    write_csv(place / "test.csv", 6, names=("bad2", "good2"))


def change_vocabulary(place):
    path = place / "tiny" / "vocab.txt"
    path.write_text(path.read_text().replace("\nwoman\n", "\nqueen\n"))


def change_case(place):
    path = place / "tiny" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_lower_case": False}))


def change_weights(place):
    path = place / "tiny" / model_state.WEIGHTS_FILE
    tensors = {name: value + 0.01 for name, value in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "np"})


def change_training_byte(place):
    """One token of one row, amid the file, whose size stays."""
    path = next((place / "shards").glob("*training*"))
    with h5py.File(path, "r+") as file:
        file["input_ids"][20, 4] += 1


@pytest.mark.parametrize(
    ("program", "change", "message"),
    [
        ("glue", change_dev_label, "the dev set changed"),
        ("glue", rename_classes, "the class names changed"),
        ("glue", change_vocabulary, "the tokenizer changed"),
        ("glue", change_case, "the tokenizer changed"),
        ("glue", change_weights, "the initial model changed"),
        ("pretrain", change_vocabulary, "the tokenizer changed"),
        ("pretrain", change_weights, "the initial weights changed"),
        ("pretrain", change_training_byte, "the training shards changed"),
    ],
)
def test_changed_content_is_refused(stopped, program, change, message):
    place = stopped(program)
    change(place)
    before = (place / "out" / "metrics.jsonl").read_bytes()
    with pytest.raises(OutputError) as caught:
        run(program, place, RESUME)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert (place / "out" / "metrics.jsonl").read_bytes() == before


def test_a_changed_test_set_is_predicted(stopped, capsys):
    place = stopped("glue")
    write_csv(place / "test.csv", 5)
    run("glue", place, RESUME)
    assert "the test set test.tsv has changed" in capsys.readouterr().err
    assert len((place / "out" / "predictions" / "test.tsv").read_text().splitlines()) == 6


@pytest.mark.parametrize("change", ["shard", "--max_eval_rows 5"])
def test_other_held_out_rows_begin_a_new_search_for_the_best_step(stopped, capsys, change):
    place = stopped("pretrain")
    state_path = place / "out" / "model_2" / checkpoint.STATE_FILE
    assert json.loads(state_path.read_text())["best_step"] == 2
    if change == "shard":
        write_shard(place / "shards", schema.TEST, 0, 9, 50)
    run("pretrain", place, RESUME + ("" if change == "shard" else f" {change}"))
    assert "the held-out rows that are evaluated have changed" in capsys.readouterr().err
    state = json.loads((place / "out" / "model_4" / checkpoint.STATE_FILE).read_text())
    assert state["best_step"] == 4


def test_another_eval_batch_size_evaluates_the_same_rows(stopped, capsys):
    run("pretrain", stopped("pretrain"), f"{RESUME} --eval_batch_size 3")
    assert "have changed" not in capsys.readouterr().err


@pytest.mark.parametrize("program", ["glue", "pretrain"])
@pytest.mark.parametrize("flags", ["--cpu_kernels 0", "--recompute", "--to_static"])
def test_other_dropout_masks_are_refused(stopped, program, flags):
    with pytest.raises(OutputError, match="without which other dropout masks are drawn"):
        run(program, stopped(program), f"{RESUME} {flags}")


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    compile_kernels.load_kernels.cache_clear()
    yield
    monkeypatch.undo()
    compile_kernels.load_kernels.cache_clear()


def test_a_machine_without_a_compiler(stopped, no_compiler, capsys):
    place = stopped("glue")
    with pytest.raises(OutputError, match="no C compiler found .*accept other dropout masks with"):
        run("glue", place, RESUME)
    assert run("glue", place, f"{RESUME} --cpu_kernels 0")["global_step"] == 4
    assert "other dropout masks" in capsys.readouterr().err


def test_a_lower_learning_rate_after_a_loss_that_is_not_finite(finished, tmp_path, capsys):
    place = tmp_path / "place"
    shutil.copytree(finished["glue"], place, ignore=shutil.ignore_patterns("out"))
    with pytest.raises(RunError) as caught:
        run("glue", place, "--learning_rate 1e38 --warmup_steps 3 --save_steps 1")
    assert "resume with --resume_from_checkpoint auto and a lower --learning_rate" in str(
        caught.value
    )
    # The weights after the second step, the first with a learning rate above 0, are of no use.
    for step in checkpoint.saved_steps(place / "out")[1:]:
        shutil.rmtree(place / "out" / f"model_{step}")
    flags = f"--learning_rate 1e-4 --warmup_steps 3 --save_steps 1 {RESUME}"
    assert run("glue", place, flags)["global_step"] == 4
    assert "--learning_rate was 1e+38 and is 0.0001 from step 2 on" in capsys.readouterr().err
    flags = "--learning_rate 1e-4 --warmup_steps 4 --overwrite_output_dir"
    assert run("glue", place, flags)["global_step"] == 4


@pytest.mark.parametrize(
    "flags", ["--use_amp --amp_dtype bfloat16", "--use_amp 0", "--use_amp --learning_rate 1e-5"]
)
def test_what_is_advised_when_the_loss_scale_falls_may_be_changed(
    finished, tmp_path, capsys, flags
):
    place = tmp_path / "place"
    shutil.copytree(finished["glue"], place, ignore=shutil.ignore_patterns("out"))
    run("glue", place, "--use_amp")
    shutil.rmtree(place / "out" / "model_4")
    assert run("glue", place, f"{RESUME} {flags}")["global_step"] == 4
    assert "from step 3 on" in capsys.readouterr().err
