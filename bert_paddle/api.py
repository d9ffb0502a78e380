"""The Python API: fine-tune a model, evaluate it, load it and predict.

    from bert_paddle import api

    run = api.fine_tune("SST-2", model_name_or_path="bert-base-uncased", output_dir="out")
    model = api.load(run.model_dir)
    model.predict(["a gripping film"])[0].label

Everything runs in this process; for several GPUs use `bert-paddle glue --n_gpu N`. The first call
imports Paddle, unless it is already imported, with the same threads and memory settings as the
programs. Errors that the programs print as `error: ...` are raised (bert_paddle.common.errors):
UserError for mistakes in flags, files and models, RunError for failures while running.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bert_paddle.common import flags
from bert_paddle.common.errors import FlagError
from bert_paddle.common.flag_texts import FlagText, peer_flags, resolve
from bert_paddle.common.printed_lines import print_line
from bert_paddle.common.suggest import did_you_mean
from bert_paddle.distributed.device import set_up_device
from bert_paddle.glue.args import GlueArgs
from bert_paddle.training import checkpoint

if TYPE_CHECKING:
    from bert_paddle.glue.predictor import Predictor


@dataclasses.dataclass(frozen=True)
class FineTuned:
    """A finished fine-tuning run. results: as in all_results.json. model_dir: the folder with the
    weights of the last step (of the best step with load_best_model_at_end)."""

    results: dict[str, Any]
    output_dir: Path
    model_dir: Path


def load(
    model_dir: str | Path,
    device: str = "auto",
    max_seq_length: int | None = None,
    do_lower_case: bool | None = None,
) -> "Predictor":
    """Load a fine-tuned model; its `predict(texts, pairs=None, batch_size=32)` returns a list of
    `Prediction(label, probabilities, score)`.

    model_dir: a folder written by this package, PaddleNLP or Hugging Face, with a classifier.
    device: auto, cpu or gpu. max_seq_length: maximum tokens per row; None: the model's
    max_position_embeddings. do_lower_case: whether text is lower-cased; None: as the model's files
    say, else as its vocabulary suggests (a line on stderr says what was decided and why).
    Raises WeightsError for a folder without a model, and for a model without a classifier.
    """
    set_up_device(device)
    from bert_paddle.glue.predictor import Predictor

    return Predictor(str(model_dir), max_seq_length, do_lower_case, print_line)


def fine_tune(task_name: str | None = None, **flags_of_glue: Any) -> FineTuned:
    """Fine-tune as `bert-paddle glue` does, with its flags as keyword arguments.

    model_name_or_path and output_dir are required; the log lines are printed. Raises FlagError with
    all problems of the flags, and the errors of `bert_paddle.glue.finetune.run`.
    """
    args = _build_args({"task_name": task_name, **flags_of_glue})
    if not args.do_train:
        raise FlagError(["fine_tune trains: omit do_train, or set it to True"])
    results = _run(args)
    output_dir = Path(args.output_dir)
    last_checkpoint = checkpoint.checkpoint_dir(output_dir, checkpoint.saved_steps(output_dir)[-1])
    eval_model = results.get("eval_model")
    return FineTuned(
        results, output_dir, output_dir / eval_model if eval_model else last_checkpoint
    )


def evaluate(
    model_dir: str | Path, task_name: str | None = None, **flags_of_glue: Any
) -> dict[str, Any]:
    """Evaluate a fine-tuned model on a task's dev set(s); returns the content of all_results.json
    (eval_loss, eval_accuracy, ...). output_dir is required; further flags as in `fine_tune`."""
    if "model_name_or_path" in flags_of_glue:
        raise FlagError(["model_dir is the model to evaluate: omit model_name_or_path"])
    values = {"task_name": task_name, "model_name_or_path": model_dir, **flags_of_glue}
    return _run(_build_args(values | {"do_train": False, "do_eval": True}))


def _run(args: GlueArgs) -> dict[str, Any]:
    set_up_device(args.device, args.n_gpu)
    for note in args.notes:
        print_line(note)
    from bert_paddle.glue import finetune

    return finetune.run(args)


def _build_args(values: Mapping[str, Any]) -> GlueArgs:
    """The flags of run_glue.py from keyword arguments, converted and checked like command line
    flags. Raises FlagError with all problems."""
    names = {*flags.fields_by_name(GlueArgs), *peer_flags(GlueArgs)}
    problems, given = list[str](), list[tuple[str, FlagText]]()
    for name, value in values.items():
        if name not in names:
            hint = did_you_mean(name, sorted(names))
            problems.append(f"{name} is not a flag of bert-paddle glue{hint}")
        elif value is not None:
            given.append((name, FlagText(_text(value), name)))
    resolved = resolve(GlueArgs, given, problems)
    texts = resolved.texts
    if str(values.get("n_gpu", 1)) not in ("0", "1"):
        problems.append("n_gpu must be 0 or 1 here: for more GPUs run bert-paddle glue --n_gpu N")
    if "seeds" in texts:
        problems.append("seeds starts processes: call this once for each seed, with seed=...")
    args = flags.build_args(GlueArgs, texts, problems)
    args.notes = tuple(resolved.notes)
    return args


def _text(value: Any) -> str:
    """A value as it would be written on the command line."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)  # boolean flags accept True and False
