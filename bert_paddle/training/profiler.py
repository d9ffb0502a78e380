"""--profile: profile some training steps with Paddle's profiler."""

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
_SKIPPED = 2  # first steps, not profiled: they allocate memory and compile


@contextlib.contextmanager
def profile_steps(trainer: Trainer, steps: int, output_dir: Path, log: RunLog) -> Iterator[None]:
    """Profile `steps` steps (0: none) of the training that runs in the block.

    Every rank writes two files to output_dir/profile/: table_<rank>.txt, the operations sorted by
    time, and trace_<rank>.json, for chrome://tracing or Perfetto. Raises OutputError if
    output_dir/profile is a file.
    """
    if steps == 0:
        yield
        return
    folder = output_dir / FOLDER
    if folder.exists() and not folder.is_dir():
        raise OutputError(
            f"--profile: {folder} is a file: remove it; the profile needs a folder there"
        )
    from paddle import profiler

    targets = [profiler.ProfilerTarget.CPU]
    if collectives.on_gpu():
        targets.append(profiler.ProfilerTarget.GPU)
    session = profiler.Profiler(
        targets=targets,
        scheduler=(_SKIPPED, _SKIPPED + steps),
        on_trace_ready=lambda session: _write(session, folder, log),
    )
    trainer.after_step.append(session.step)
    session.start()
    try:
        yield
    finally:
        trainer.after_step.remove(session.step)
        session.stop()


def _write(session: Any, folder: Path, log: RunLog) -> None:
    from paddle.profiler import SortedKeys

    rank = collectives.get_world().rank
    table, trace = folder / f"table_{rank}.txt", folder / f"trace_{rank}.json"
    folder.mkdir(exist_ok=True)
    session.export(str(trace), "json")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        session.summary(sorted_by=SortedKeys.CPUTotal, thread_sep=False, time_unit="ms")
    table.write_text(printed.getvalue(), encoding="utf-8")
    log.note(f"profile: {table}, {trace} (for chrome://tracing)")
