"""The Python API: fine-tune a model, evaluate it, load it and predict or generate texts.

    from bert_paddle import api

    run = api.fine_tune("SST-2", model_name_or_path="bert-base-uncased", output_dir="out")
    model = api.load(run.model_dir)
    model.predict(["a gripping film"])[0].label

    run = api.fine_tune(model_type="gpt2", model_name_or_path="gpt2", train_file="bios.csv",
                        output_dir="out")
    api.generate(run.model_dir, "She was born in", num_samples=3)[0].text

Everything but the trainings of a benchmark runs in this process; for several GPUs use `bert-paddle
glue --n_gpu N`. The first call imports Paddle, unless it is already imported, with the same threads
and memory settings as the programs. Errors that the programs print as `error: ...` are raised
(bert_paddle.common.errors): UserError for mistakes in flags, files and models, RunError for
failures while running.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bert_paddle.clm.args import ClmArgs
from bert_paddle.clm.generate_args import GenerateArgs
from bert_paddle.common import flags
from bert_paddle.common.args import CommonArgs
from bert_paddle.common.errors import FlagError
from bert_paddle.common.flag_texts import FlagText, peer_flags, resolve
from bert_paddle.common.printed_lines import print_line
from bert_paddle.common.suggest import did_you_mean
from bert_paddle.distributed.device import set_up_device
from bert_paddle.glue.args import GlueArgs
from bert_paddle.models.gpt2_config import MODEL_TYPE
from bert_paddle.training import checkpoint

if TYPE_CHECKING:
    from bert_paddle.clm.generator import Generated
    from bert_paddle.glue.predictor import Predictor


_Args = TypeVar("_Args", bound=CommonArgs)


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
    threshold: float | Sequence[float] | None = None,
    bf16: bool = False,
) -> "Predictor":
    """Load a fine-tuned model; its `predict(texts, pairs=None, batch_size=32)` returns a list of
    `Prediction(label, probabilities, score, labels)`; see `glue.predictor.Prediction`.

    model_dir: a folder written by this package, PaddleNLP or Hugging Face, with a classifier.
    device: auto, cpu or gpu. max_seq_length: maximum tokens per row; None: the model's
    max_position_embeddings. do_lower_case: whether text is lower-cased; None: as the model's files
    say, else as its vocabulary suggests (a line on stderr says what was decided and why).
    threshold: of a model for several labels per text, the probability from which on a label is
    predicted, or one for each label; None: the model's. bf16: compute in bfloat16, on a CPU that
    has the instructions (a line on stderr says if it has not).
    Raises WeightsError for a folder without a model, and for a model without a classifier,
    DataError for thresholds that do not suit it.
    """
    set_up_device(device)
    from bert_paddle.glue.predictor import Predictor

    given = () if threshold is None else threshold
    thresholds = (given,) if isinstance(given, int | float) else tuple(given)
    return Predictor(str(model_dir), max_seq_length, do_lower_case, print_line, thresholds, bf16)


def generate(
    model_dir: str | Path,
    prompt: str = "",
    num_samples: int = 1,
    max_new_tokens: int = -1,
    top_k: int = 50,
    top_p: float = 0.95,
    temperature: float = 1.0,
    repetition_penalty: float = 1.0,
    seed: int = 42,
    device: str = "auto",
) -> "list[Generated]":
    """Continue a prompt with a GPT-2 as `bert-paddle generate` does, `num_samples` times; `text` of
    each result is the continuation. For many prompts, load a `clm.generator.Generator` once.

    max_new_tokens: -1: 200, or as many as the model's positions allow. Raises FlagError for values
    out of range, WeightsError for a folder without a GPT-2, UserError for a prompt that is too
    long.
    """
    values = dict(locals())
    del values["model_dir"], values["prompt"]
    texts = {name: FlagText(_text(value), name) for name, value in values.items()}
    args = flags.build_args(GenerateArgs, texts, positional_values=(str(model_dir),))
    set_up_device(args.device)
    from bert_paddle.clm.generator import Generator
    from bert_paddle.clm.sampling import SamplingSettings

    settings = SamplingSettings(
        args.max_new_tokens, args.top_k, args.top_p, args.temperature, args.repetition_penalty
    )
    return Generator(str(model_dir)).generate(prompt, args.num_samples, settings, args.seed)


def fine_tune(task_name: str | None = None, **flags_of_program: Any) -> FineTuned:
    """Fine-tune as `bert-paddle glue` does, with its flags as keyword arguments; with
    model_type="gpt2", as `bert-paddle clm` does.

    model_name_or_path and output_dir are required; the log lines are printed. Raises FlagError with
    all problems of the flags, and the errors of `glue.finetune.run` or `clm.finetune.run`.
    """
    values = flags_of_program if task_name is None else {"task_name": task_name, **flags_of_program}
    args = _build_args(values)
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
    (eval_loss, eval_accuracy, ...). output_dir is required; further flags and errors as in
    `fine_tune`."""
    if "model_name_or_path" in flags_of_glue:
        raise FlagError(["model_dir is the model to evaluate: omit model_name_or_path"])
    values = {"task_name": task_name, "model_name_or_path": model_dir, **flags_of_glue}
    return _run(_build_args(values | {"do_train": False, "do_eval": True}))


def glue_benchmark(
    model_name_or_path: str | Path, output_dir: str | Path, **flags_of_benchmark: Any
) -> dict[str, Any]:
    """Run `bert-paddle glue-benchmark`, with its flags as keyword arguments: each training is a
    process of its own. Returns the scores in percent: "tasks", the mean over the seeds by task and
    metric, "average" and "average_without_wnli", None unless all tasks are finished.

    Raises FlagError with all problems of the flags, and the errors of
    `sweep.benchmark.benchmark.run_benchmark`.
    """
    from bert_paddle.sweep.benchmark import benchmark, table
    from bert_paddle.sweep.benchmark.args import BenchmarkArgs

    flags_of_benchmark |= {"model_name_or_path": model_name_or_path, "output_dir": output_dir}
    args = _parse_values(flags_of_benchmark, BenchmarkArgs, "glue-benchmark")
    for note in args.notes:
        print_line(note)
    summary = benchmark.run_benchmark(args)
    return {} if summary is None else table.as_dict(summary)


def compare(
    run_a: str | Path, run_b: str | Path, resamples: int = 10_000, seed: int = 0
) -> dict[str, Any]:
    """Compare two finished runs on the dev rows of their task; returns what `bert-paddle compare
    --json` prints. Raises DataError for runs that cannot be compared."""
    from bert_paddle.glue import comparison

    return comparison.as_dict(comparison.compare(Path(run_a), Path(run_b), resamples, seed))


def _run(args: GlueArgs | ClmArgs) -> dict[str, Any]:
    set_up_device(args.device, args.n_gpu)
    for note in args.notes:
        print_line(note)
    if isinstance(args, ClmArgs):
        from bert_paddle.clm import finetune as clm_finetune

        return clm_finetune.run(args)
    from bert_paddle.glue import finetune

    return finetune.run(args)


def _build_args(values: Mapping[str, Any]) -> GlueArgs | ClmArgs:
    """The flags of run_glue.py, or with model_type "gpt2" of run_clm.py, from keyword arguments,
    converted and checked like command line flags. Raises FlagError with all problems."""
    is_clm = values.get("model_type") == MODEL_TYPE
    args_class: type[GlueArgs | ClmArgs] = ClmArgs if is_clm else GlueArgs
    problems = list[str]()
    if str(values.get("n_gpu", 1)) not in ("0", "1"):
        command = "clm" if is_clm else "glue"
        problems.append(
            f"n_gpu must be 0 or 1 here: for more GPUs run bert-paddle {command} --n_gpu N"
        )
    if values.get("seeds") is not None:
        problems.append("seeds starts processes: call this once for each seed, with seed=...")
    return _parse_values(values, args_class, "clm" if is_clm else "glue", problems)


def _parse_values(
    values: Mapping[str, Any],
    args_class: type[_Args],
    command: str,
    earlier_problems: Sequence[str] = (),
) -> _Args:
    """The flags of a command from keyword arguments, as in `_build_args`."""
    names = {*flags.fields_by_name(args_class), *peer_flags(args_class)}
    problems, given = list(earlier_problems), list[tuple[str, FlagText]]()
    for name, value in values.items():
        if name not in names:
            hint = did_you_mean(name, sorted(names))
            problems.append(f"{name} is not a flag of bert-paddle {command}{hint}")
        elif value is not None:
            given.append((name, FlagText(_text(value), name)))
    resolved = resolve(args_class, given, problems)
    args = flags.build_args(args_class, resolved.texts, problems)
    args.notes = tuple(resolved.notes)
    return args


def _text(value: Any) -> str:
    """A value as it would be written on the command line."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)  # boolean flags accept True and False
