"""Running the jobs of shards: here, in several processes, or on a Dask cluster. No paddle.

The order in which shards are done differs; what is in them does not.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from typing import Any

from bert_paddle.common import runtime
from bert_paddle.common.errors import DataError, RunError
from bert_paddle.pretrain.create.examples import ShardCounts, ShardJob, make_shard

_DASK_SECONDS = 15  # to wait for the scheduler
_DIED = "died (out of memory?); run the same command again: whole shards are kept"


def run(jobs: Sequence[ShardJob], workers: int, scheduler: str | None) -> Iterator[ShardCounts]:
    """What each job made, as soon as it is there. Raises DataError or RunError for the first job
    that fails, and RunError when a worker dies."""
    if scheduler is not None:
        return _on_cluster(jobs, scheduler)
    if workers > 1 and len(jobs) > 1:
        return _in_processes(jobs, min(workers, len(jobs)))
    return map(make_shard, jobs)


def _in_processes(jobs: Sequence[ShardJob], workers: int) -> Iterator[ShardCounts]:
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    # Not forked: the parent may have threads (of the tokenizer's library, of whoever calls).
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_begin_worker, initargs=(os.getpid(),)
    )
    whole = False
    try:
        for done in as_completed([pool.submit(make_shard, job) for job in jobs]):
            yield done.result()
        whole = True
    except BrokenProcessPool:
        raise RunError(f"a worker process {_DIED}") from None
    finally:
        started = list((pool._processes or {}).values())
        pool.shutdown(wait=whole, cancel_futures=True)
        if not whole:  # an error or Ctrl-C: what the others are at is of no use
            for process in started:
                process.terminate()
            for process in started:
                process.join()


def _begin_worker(parent: int) -> None:
    """Ctrl-C is the parent's to answer, and no worker outlives it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    runtime.die_with_parent()
    if os.getppid() != parent:  # gone before the line above could take effect
        os._exit(1)


def _on_cluster(jobs: Sequence[ShardJob], scheduler: str) -> Iterator[ShardCounts]:
    distributed = _distributed()
    try:
        client = distributed.Client(scheduler, timeout=_DASK_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"--scheduler {scheduler}: no Dask scheduler answers there ({_first_line(error)}); "
            "start one with `dask scheduler`, workers with `dask worker ADDRESS`"
        ) from None
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise DataError(
                f"--scheduler {scheduler}: the cluster has no workers; start some with "
                f"`dask worker {scheduler}`"
            )
        # A worker that dies is told of at once; the shards that are whole need not be made again.
        futures = client.map(make_shard, jobs, pure=False, retries=0)
        try:
            for future in distributed.as_completed(futures, loop=client.loop):
                yield future.result()
        except (distributed.KilledWorker, distributed.client.FutureCancelledError) as error:
            raise RunError(f"a worker of the cluster {_DIED} ({_first_line(error)})") from None
        except ImportError as error:
            raise DataError(
                f"--scheduler {scheduler}: its workers cannot import what they need "
                f"({_first_line(error)}): install this package for them too"
            ) from None
        finally:
            client.cancel(futures, force=True)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise DataError(
            "--scheduler needs Dask, which is not installed: pip install distributed"
        ) from None
    return distributed


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]
