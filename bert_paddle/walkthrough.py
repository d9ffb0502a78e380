"""What the CoLA walk-through shows around its training: the data, then what has come of it."""

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bert_paddle.common import run_log
from bert_paddle.common.errors import OutputError
from bert_paddle.glue.args import parse_args
from bert_paddle.glue.data import cola_release, tsv
from bert_paddle.glue.predictor import Predictor
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.report import plots, run_data
from bert_paddle.sweep import run_status
from bert_paddle.training import checkpoint, epoch_metrics, run_info
from bert_paddle.training.run import RESULTS_FILE

Say = Callable[[str], None]
_EXAMPLE = 0  # row of the training file that is shown piece by piece
_FIRST, _LAST = ("bert.embeddings.", "bert.encoder.layers.0."), ("bert.pooler.", "classifier.")


def show_data(folder: Path, tokens: Tokenizer, max_seq_length: int, say: Say) -> None:
    """Rows, the share of positive labels, the longest sentence, and one as text, pieces and ids."""
    say(f"The data, in {folder}")
    for name in (cola_release.TRAIN_FILE, cola_release.TEST_FILE):
        rows = tsv.load(cola_release.RELEASE, folder / name, "train")
        assert rows.labels is not None
        positive = int(rows.labels.sum())
        say(
            f"  {name}: {len(rows)} sentences, {positive} of them acceptable (label 1): "
            f"{positive / len(rows):.1%}"
        )
        whole = tokens.encode(rows.texts_a, None, 10**9)
        longest = int(np.argmax(whole.lengths))
        cut = int((whole.lengths > max_seq_length).sum())
        say(
            f"    the longest, in line {longest + 1}: {whole.lengths[longest]} word pieces with "
            f"[CLS] and [SEP]; {cut or 'none'} longer than {max_seq_length}"
        )
        if name == cola_release.TRAIN_FILE:
            shown = rows.texts_a[_EXAMPLE], whole.input_ids[_EXAMPLE].tolist()
    say("A sentence on its way into the model")
    say(f"  text    {shown[0]}")
    say(f"  pieces  {' '.join(tokens.vocab[i] for i in shown[1])}")
    say(f"  ids     {' '.join(map(str, shown[1]))}")


def check(run: Path, flags: Sequence[str]) -> str:
    """How far the run of these flags of run_glue.py is: "anew" where they overwrite the folder,
    "finished" or "begin". They lack the files of the data, which are looked for later.

    Raises FlagError for flags that are wrong, OutputError for a finished run of other settings.
    """
    with tempfile.TemporaryDirectory() as empty:
        files = [Path(empty) / cola_release.TRAIN_FILE, Path(empty) / cola_release.TEST_FILE]
        for file in files:
            file.touch()
        named = [f"--train_file={files[0]}", f"--test_file={files[1]}"]
        args = parse_args([*named, *flags, f"--output_dir={run}"])
    if args.overwrite_output_dir:
        return "anew"
    if not (run / RESULTS_FILE).is_file():
        return "begin"
    settings = run_info.read(run).get("settings")
    differ = run_status.differences(settings or {}, args, ("train_file", "test_file", "n_gpu"))
    if differ:
        raise OutputError(
            f"{run} holds a finished run with other settings: {', '.join(differ)}; give another "
            "OUTPUT_DIR, or --overwrite_output_dir to begin anew"
        )
    return "finished"


def show_epochs(run: Path, say: Say) -> None:
    """The epochs of a finished run as the table that its training ended with."""
    found = [
        entry for entry in run_log.read_records(run) if entry.get("kind") == epoch_metrics.KIND
    ]
    if found:
        say(epoch_metrics.table(found))


def last_model(run: Path) -> Path:
    """The newest checkpoint of a run. Raises OutputError where there is none."""
    steps = checkpoint.saved_steps(run)
    if not steps:
        raise OutputError(f"{run} has no model_<step>: its training has not saved anything yet")
    return checkpoint.checkpoint_dir(run, steps[-1])


def show_model(model: Predictor, say: Say) -> None:
    """The parameters by name and shape, but for the layers between the first and the last."""
    parameters = [(name, tuple(value.shape)) for name, value in model.model.named_parameters()]
    count = sum(math.prod(shape) for _, shape in parameters)
    say(f"The model, loaded from {model.folder}: {len(parameters)} tensors, {count:,} parameters")
    for title, prefixes in (
        ("embeddings", _FIRST[:1]),
        ("first layer", _FIRST[1:]),
        ("output", _LAST),
    ):
        say(f"  {title}")
        for name, shape in parameters:
            if name.startswith(prefixes):
                say(f"    {name:60}{shape}")


def show_files(folder: Path, say: Say) -> None:
    """The files of a saved model with their sizes."""
    say(f"The files of {folder}")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        say(f"  {path.relative_to(folder).as_posix():32}{path.stat().st_size:>12,} bytes")


def show_test(run: Path, say: Say) -> None:
    """The Matthews correlation of the test set, by batch and as a whole. Raises OutputError where
    the run has not predicted one that has labels."""
    tests = [one for one in run_data.read(run).predictions if one.is_test]
    if not tests:
        raise OutputError(
            f"{run} has no predictions of a labelled test set: the run is not at its end"
        )
    values, whole = plots.batch_mccs(tests[-1])
    say(f"MCC of the {tests[-1].name}, by batch of {plots.BATCH} rows")
    for begin in range(0, len(values), 6):
        few = "  ".join(f"{value:6.3f}" for value in values[begin : begin + 6])
        say(f"  batches {begin + 1:>2} to {min(begin + 6, len(values)):>2}   {few}")
    say(f"  all {len(tests[-1].rows)} rows together: {whole:.4f}")


def show_sentence(model: Predictor, sentence: str, say: Say) -> None:
    """What the model says of a sentence."""
    (said,) = model.predict([sentence])
    say("A sentence of your own")
    say(f"  text    {sentence}")
    for name, share in said.probabilities.items():
        chosen = "  <- the model's answer" if name == said.label else ""
        say(f"  label {name}: {share:.4f}{chosen}")
