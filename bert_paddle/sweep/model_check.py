"""Checks the models of planned runs, before the first run starts."""

from collections.abc import Iterator, Sequence

from bert_paddle.clm.args import ClmArgs
from bert_paddle.common import runtime
from bert_paddle.common.errors import FlagError
from bert_paddle.common.printed_lines import print_line
from bert_paddle.glue import layer_settings
from bert_paddle.models import hub, model_config
from bert_paddle.sweep.plan import SweepRun, with_combinations
from bert_paddle.sweep.programs import RunArgs


def check_models(runs: Sequence[SweepRun]) -> None:
    """Find the models of these runs of a sweep, downloading them if necessary, and compare their
    layers with the flags.

    Raises WeightsError for the first model that is missing or of another architecture, FlagError
    with all flags that ask for more layers than there are.
    """
    combinations: dict[str, list[str]] = {}
    distinct = {run.grid_text: run.args for run in runs}  # without the seeds
    for text, args in distinct.items():
        for problem in _layer_problems(args):
            combinations.setdefault(problem, []).append(text)
    if combinations:
        items = combinations.items()
        raise FlagError(
            [with_combinations(problem, texts, len(distinct)) for problem, texts in items]
        )


def _layer_problems(args: RunArgs) -> Iterator[str]:
    if isinstance(args, ClmArgs):
        from bert_paddle.clm import model_source

        try:
            model_source.check_before_start(args, print_line)
        except FlagError as error:
            yield from error.problems
        return
    folder = hub.find_model_dir(args.model_name_or_path, runtime.bert_paddle_home(), print_line)
    layers = model_config.read_config(folder).values["num_hidden_layers"]
    yield from layer_settings.layer_problems(args, layers)
