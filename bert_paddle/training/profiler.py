"""Where the time of an update goes: Paddle's profiler around some updates of a training."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bert_paddle.common.errors import OutputError
from bert_paddle.common.run_log import RunLog
from bert_paddle.distributed import collectives
from bert_paddle.training.step import Trainer

FOLDER = "profile"
_BEFORE = 2  # updates that are left out: they allocate, and compile what is compiled at first use


@contextlib.contextmanager
def profile_steps(trainer: Trainer, updates: int, output_dir: Path, log: RunLog) -> Iterator[None]:
    """Profile `updates` updates (0: none) of the training in the block.

    Every rank leaves in output_dir/profile/ a table of operations by their time, table_<rank>.txt,
    and a trace for chrome://tracing or Perfetto, trace_<rank>.json. Raises OutputError where a
    file stands in the place of that folder.
    """
    if updates == 0:
        yield
        return
    folder = output_dir / FOLDER
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"--profile: {folder} is a file, and a folder is to be made there")
    from paddle import profiler

    targets = [profiler.ProfilerTarget.CPU]
    if collectives.on_gpu():
        targets.append(profiler.ProfilerTarget.GPU)
    found = profiler.Profiler(
        targets=targets,
        scheduler=(_BEFORE, _BEFORE + updates),
        on_trace_ready=lambda one: _write(one, folder, log),
    )
    plain = trainer.step

    def step(*arguments: Any) -> Any:
        update = plain(*arguments)
        found.step()
        return update

    trainer.step = step  # type: ignore[method-assign, assignment]
    found.start()
    try:
        yield
    finally:
        trainer.step = plain  # type: ignore[method-assign]
        found.stop()


def _write(found: Any, folder: Path, log: RunLog) -> None:
    from paddle.profiler import SortedKeys

    rank = collectives.get_world().rank
    table, trace = folder / f"table_{rank}.txt", folder / f"trace_{rank}.json"
    folder.mkdir(exist_ok=True)
    found.export(str(trace), "json")
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard):
        found.summary(sorted_by=SortedKeys.CPUTotal, thread_sep=False, time_unit="ms")
    table.write_text(heard.getvalue(), encoding="utf-8")
    log.note(f"profile: {table}, {trace} (for chrome://tracing)")
