"""Checks the models of planned runs, before the first run starts."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bert_paddle.clm.args import ClmArgs
from bert_paddle.common import runtime
from bert_paddle.common.errors import FlagError, WeightsError
from bert_paddle.common.printed_lines import print_line
from bert_paddle.glue import layer_settings
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.tasks import get_task
from bert_paddle.models import classifier, hub, model_config
from bert_paddle.models.model_config import ModelConfig
from bert_paddle.sweep.plan import SweepRun, with_combinations
from bert_paddle.sweep.programs import RunArgs


def check_models(runs: Sequence[SweepRun]) -> None:
    """Find the models of these runs of a sweep, downloading them if necessary, and compare their
    sizes with the flags.

    Raises WeightsError for the first model that is missing or of another architecture, FlagError
    with all flags that ask for more layers or positions than there are.
    """
    combinations: dict[str, list[str]] = {}
    distinct = {run.grid_text: run.args for run in runs}  # without the seeds
    for text, args in distinct.items():
        for problem in _size_problems(args):
            combinations.setdefault(problem, []).append(text)
    if combinations:
        items = combinations.items()
        raise FlagError(
            [with_combinations(problem, texts, len(distinct)) for problem, texts in items]
        )


def _size_problems(args: RunArgs) -> Iterator[str]:
    if isinstance(args, ClmArgs):
        from bert_paddle.clm import model_source

        try:
            model_source.check_before_start(args, print_line)
        except FlagError as error:
            yield from error.problems
        return
    folder = hub.find_model_dir(args.model_name_or_path, runtime.bert_paddle_home(), print_line)
    yield from bert_size_problems(args, model_config.read_config(folder), folder)


def bert_size_problems(args: GlueArgs, config: ModelConfig, folder: Path) -> Iterator[str]:
    """A message for each flag of a run that asks for more than a model has. folder: the model's."""
    yield from layer_settings.layer_problems(args, config.values["num_hidden_layers"])
    is_pair = args.task_name is not None and get_task(args.task_name).is_pair
    try:
        # The vocabulary, here 0, is compared when it has been read.
        classifier.check_sizes(config.values, 0, args.max_seq_length, is_pair, folder)
    except WeightsError as error:
        yield str(error)
