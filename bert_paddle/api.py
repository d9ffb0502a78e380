"""The Python interface: fine-tune a model, evaluate it, load it and predict.

    from bert_paddle import api

    run = api.fine_tune("SST-2", model_name_or_path="bert-base-uncased", output_dir="out")
    model = api.load(run.model_dir)
    model.predict(["a gripping film"])[0].label

Everything runs in this process; training on several GPUs is `bert-paddle glue --n_gpu N`. Paddle is
imported by the first call, with threads and memory set as for the programs, unless it has been
imported before. What the programs answer with `error: ...` is raised:
UserError (bert_paddle.common.errors) for mistakes in flags, files and models, RunError for what
breaks while running.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bert_paddle.common import flags
from bert_paddle.common.config_file import Given
from bert_paddle.common.errors import FlagError
from bert_paddle.distributed.launch import set_up_device
from bert_paddle.glue.args import GlueArgs
from bert_paddle.training import checkpoint

if TYPE_CHECKING:
    from bert_paddle.glue.predictor import Predictor


@dataclasses.dataclass(frozen=True)
class FineTuned:
    """A finished fine-tuning. results: as in all_results.json. model_dir: the folder of the weights
    that it ended with (the best ones with load_best_model_at_end)."""

    results: dict[str, Any]
    output_dir: Path
    model_dir: Path


def load(
    model_dir: str | Path, device: str = "auto", max_seq_length: int | None = None
) -> "Predictor":
    """A fine-tuned model, whose `predict(texts, pairs=None, batch_size=32)` gives a list of
    `Prediction(label, probabilities, score)`.

    model_dir: a folder of ours, of PaddleNLP or of Hugging Face, with a classifier. device: auto,
    cpu or gpu. max_seq_length: word pieces per row; None for the model's positions. Raises
    WeightsError for a folder without a model or a model without a classifier.
    """
    set_up_device(device)
    from bert_paddle.glue.predictor import Predictor

    return Predictor(str(model_dir), max_seq_length)


def fine_tune(task_name: str | None = None, **flags_of_glue: Any) -> FineTuned:
    """Fine-tune as `bert-paddle glue` does, with its flags as keyword arguments.

    model_name_or_path and output_dir are required; the lines of a run are printed. Raises FlagError
    with all that is wrong with the flags, and what `bert_paddle.glue.finetune.run` raises.
    """
    args = _args({"task_name": task_name, **flags_of_glue})
    if not args.do_train:
        raise FlagError(["fine_tune trains: do_train must not be off"])
    results = _run(args)
    output_dir = Path(args.output_dir)
    last = checkpoint.checkpoint_dir(output_dir, checkpoint.saved_steps(output_dir)[-1])
    evaluated = results.get("eval_model")
    return FineTuned(results, output_dir, output_dir / evaluated if evaluated else last)


def evaluate(
    model_dir: str | Path, task_name: str | None = None, **flags_of_glue: Any
) -> dict[str, Any]:
    """Evaluate a fine-tuned model on a task's dev set(s); what all_results.json holds, by its names
    (eval_loss, eval_accuracy, ...). output_dir is required; otherwise as `fine_tune`."""
    if "model_name_or_path" in flags_of_glue:
        raise FlagError(["model_dir is the model that is evaluated: leave model_name_or_path out"])
    given = {"task_name": task_name, "model_name_or_path": model_dir, **flags_of_glue}
    return _run(_args(given | {"do_train": False, "do_eval": True}))


def _run(args: GlueArgs) -> dict[str, Any]:
    set_up_device(args.device, args.n_gpu)
    from bert_paddle.glue import finetune

    return finetune.run(args)


def _args(values: Mapping[str, Any]) -> GlueArgs:
    """Keyword arguments as the flags of run_glue.py, converted and checked as those are."""
    known = {f.name: f for f in flags.declared_flags(GlueArgs)}
    known |= {f.metadata["alias"]: f for f in known.values() if f.metadata["alias"]}
    problems, texts = list[str](), dict[str, Given]()
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            guess = f", did you mean {near[0]}?" if near else ""
            problems.append(f"{name} is not a flag of bert-paddle glue{guess}")
        elif value is not None:
            texts[known[name].name] = Given(_text(value), name)
    if str(values.get("n_gpu", 1)) not in ("0", "1"):
        problems.append("n_gpu must be 0 or 1 here: bert-paddle glue --n_gpu N starts processes")
    if "seeds" in texts:
        problems.append("seeds starts processes: call this once for each seed, with seed=...")
    return flags.build_args(GlueArgs, texts, problems)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)  # True and False are a switch's words too
