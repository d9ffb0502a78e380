"""What the CoLA walkthrough prints: the data before training, the model and results after it."""

import math
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bert_paddle.common import run_log
from bert_paddle.common.errors import OutputError
from bert_paddle.glue.args import parse_args
from bert_paddle.glue.data import cola_release, tsv
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.glue.predictor import Predictor
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.report import plots, run_data
from bert_paddle.sweep import run_status
from bert_paddle.training import checkpoint, epoch_metrics, run_info
from bert_paddle.training.run import RESULTS_FILE

PrintLine = Callable[[str], None]
# These may differ from the run in the folder: where its files are, and the number of processes.
_CHOSEN_BY_THE_WALKTHROUGH = ("train_file", "test_file", "n_gpu")
_SHOWN_ROWS = (0, 1)  # indices of the training sentences that are shown as one batch
_RANDOM_ROWS, _UNACCEPTABLE_ROWS, _SEED = 10, 5, 42  # sentences that are shown
# Title -> prefixes of the parameters shown under it.
_SHOWN_PARAMETERS = {
    "embeddings": ("bert.embeddings.",),
    "first layer": ("bert.encoder.layers.0.",),
    "output": ("bert.pooler.", "classifier."),
}


def show_data(
    folder: Path, tokenizer: Tokenizer, max_seq_length: int, print_line: PrintLine
) -> None:
    """Print each file's row count, share of label 1 and longest sentence; ten random sentences and
    five unacceptable ones; and two sentences as a batch: pieces, ids, mask."""
    print_line(f"The data, in {folder}")
    for name in (cola_release.TRAIN_FILE, cola_release.TEST_FILE):
        examples = tsv.read_task_file(cola_release.RELEASE, folder / name, "train")
        assert examples.labels is not None
        positive = int(examples.labels.sum())
        print_line(
            f"  {name}: {len(examples)} sentences, {positive} of them acceptable (label 1): "
            f"{positive / len(examples):.1%}"
        )
        encoded = tokenizer.encode(examples.texts_a, None, 10**9)  # without truncation
        longest = int(np.argmax(encoded.lengths))
        too_long = int((encoded.lengths > max_seq_length).sum())
        print_line(
            f"    the longest, in line {longest + 1}: {encoded.lengths[longest]} word pieces with "
            f"[CLS] and [SEP]; {too_long or 'none'} longer than {max_seq_length}"
        )
        if name == cola_release.TRAIN_FILE:
            train = examples
            batch = [encoded.input_ids[row].tolist() for row in _SHOWN_ROWS if row < len(examples)]
    _show_random_rows(train, print_line)
    print_line("Two sentences as a batch for the model")
    width = max(map(len, batch))
    for row, ids in zip(_SHOWN_ROWS, batch, strict=False):
        padding = width - len(ids)
        ids, mask = ids + [tokenizer.pad_id] * padding, [1] * len(ids) + [0] * padding
        print_line(f"  text    {train.texts_a[row]}")
        print_line(f"  pieces  {' '.join(tokenizer.vocab[i] for i in ids)}")
        print_line(f"  ids     {' '.join(map(str, ids))}")
        print_line(f"  mask    {' '.join(map(str, mask))}")


def _show_random_rows(train: Examples, print_line: PrintLine) -> None:
    """Print some training sentences with their line numbers and labels."""
    assert train.labels is not None
    draw = random.Random(_SEED)
    everything = range(len(train))
    unacceptable = [row for row in everything if train.labels[row] == 0]
    for title, rows, count in (
        ("sentences, drawn at random", everything, _RANDOM_ROWS),
        ("unacceptable sentences", unacceptable, _UNACCEPTABLE_ROWS),
    ):
        chosen = sorted(draw.sample(rows, min(count, len(rows))))
        print_line(f"{len(chosen)} {title}")
        for row in chosen:
            name = cola_release.RELEASE.labels[int(train.labels[row])]
            print_line(f"  line {row + 1:>4}  {name:12}  {train.texts_a[row]}")


def run_state(run: Path, flags: Sequence[str]) -> str:
    """The state of the run in a folder, and so what to do with these flags of run_glue.py (which
    lack the data files): "overwrite" with --overwrite_output_dir, "finished", or "start" for a new
    or unfinished run, and for --seeds, which leaves out the seeds that are finished.

    Raises FlagError for invalid flags, OutputError for a finished run with other or unknown
    settings.
    """
    with tempfile.TemporaryDirectory() as empty:
        files = [Path(empty) / cola_release.TRAIN_FILE, Path(empty) / cola_release.TEST_FILE]
        for file in files:
            file.touch()
        file_flags = [f"--train_file={files[0]}", f"--test_file={files[1]}"]
        args = parse_args([*file_flags, *flags, f"--output_dir={run}"])
    if args.overwrite_output_dir:
        return "overwrite"
    if args.seeds is not None or not (run / RESULTS_FILE).is_file():
        return "start"
    settings = run_info.read(run).get("settings")
    if not isinstance(settings, dict):
        raise OutputError(
            f"{run} holds a finished run whose settings are unknown: its {run_info.RUN_FILE} is "
            "missing or damaged; give another OUTPUT_DIR, or --overwrite_output_dir to start over"
        )
    differences = run_status.setting_differences(settings, args, _CHOSEN_BY_THE_WALKTHROUGH)
    if differences:
        raise OutputError(
            f"{run} holds a finished run with other settings: {', '.join(differences)}; give "
            "another OUTPUT_DIR, or --overwrite_output_dir to start over"
        )
    return "finished"


def show_epochs(run: Path, print_line: PrintLine) -> None:
    """Print the table of epochs again that was printed at the end of training."""
    epochs = [
        entry for entry in run_log.read_metrics(run) if entry.get("kind") == epoch_metrics.KIND
    ]
    for line in epoch_metrics.format_epoch_table(epochs).splitlines() if epochs else ():
        print_line(line)


def last_checkpoint_dir(run: Path) -> Path:
    """The newest checkpoint of a run. Raises OutputError if there is none."""
    steps = checkpoint.saved_steps(run)
    if not steps:
        raise OutputError(f"{run} has no model_<step>: training has not saved a checkpoint yet")
    return checkpoint.checkpoint_dir(run, steps[-1])


def show_model(model: Predictor, print_line: PrintLine) -> None:
    """Print names and shapes of the parameters; of the encoder layers only the first."""
    parameters = [(name, tuple(value.shape)) for name, value in model.model.named_parameters()]
    count = sum(math.prod(shape) for _, shape in parameters)
    print_line(
        f"The model, loaded from {model.folder}: {len(parameters)} tensors, {count:,} parameters"
    )
    for title, prefixes in _SHOWN_PARAMETERS.items():
        print_line(f"  {title}")
        for name, shape in parameters:
            if name.startswith(prefixes):
                print_line(f"    {name:60}{shape}")


def show_files(folder: Path, print_line: PrintLine) -> None:
    """Print the files of a saved model and their sizes."""
    print_line(f"The files of {folder}")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        print_line(f"  {path.relative_to(folder).as_posix():32}{path.stat().st_size:>12,} bytes")


def show_test(run: Path, print_line: PrintLine) -> None:
    """Print the Matthews correlation on the test set, per batch and overall. Raises OutputError if
    the run has no predictions for a labelled test set."""
    test_sets = [rows for rows in run_data.read(run).predictions if rows.is_test]
    if not test_sets:
        raise OutputError(
            f"{run} has no predictions for a labelled test set: the run has not finished"
        )
    test_set = test_sets[-1]
    mccs, overall_mcc = plots.mcc_per_batch(test_set)
    print_line(f"MCC of the {test_set.name}, by batch of {plots.BATCH} rows")
    for start in range(0, len(mccs), 6):
        line = "  ".join(f"{mcc:6.3f}" for mcc in mccs[start : start + 6])
        print_line(f"  batches {start + 1:>2} to {min(start + 6, len(mccs)):>2}   {line}")
    print_line(f"  all {len(test_set.rows)} rows together: {overall_mcc:.4f}")


def show_sentence(model: Predictor, sentence: str, print_line: PrintLine) -> None:
    """Print the model's prediction for a sentence."""
    (prediction,) = model.predict([sentence])
    print_line("A sentence of your own")
    print_line(f"  text    {sentence}")
    for name, probability in prediction.probabilities.items():
        mark = "  <- the model's answer" if name == prediction.label else ""
        print_line(f"  label {name}: {probability:.4f}{mark}")
