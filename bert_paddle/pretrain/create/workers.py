"""Run shard jobs: in this process, in several processes, or on a Dask cluster.

The order in which shards are finished differs; their content does not. Does not import paddle.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence

from bert_paddle.common import extras, runtime
from bert_paddle.common.errors import DataError, RunError
from bert_paddle.pretrain.create.examples import ShardJob, create_shard
from bert_paddle.pretrain.create.recipe import ShardCounts

_DASK_TIMEOUT = 15  # seconds to wait for the scheduler
_DIED = "died (out of memory?); run the same command again: complete shards are kept"


def run_jobs(
    jobs: Sequence[ShardJob], workers: int, scheduler: str | None
) -> Iterator[ShardCounts]:
    """Yield the counts of each job as soon as it is finished. Raises DataError or RunError for the
    first job that fails, and RunError when a worker dies."""
    if scheduler is not None:
        return _run_on_dask(jobs, scheduler)
    if workers > 1 and len(jobs) > 1:
        return _run_in_processes(jobs, min(workers, len(jobs)))
    return map(create_shard, jobs)


def _run_in_processes(jobs: Sequence[ShardJob], workers: int) -> Iterator[ShardCounts]:
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    # Not forked: the parent may have threads (from the tokenizers library or the caller).
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_init_worker, initargs=(os.getpid(),)
    )
    finished = False
    try:
        for future in as_completed([pool.submit(create_shard, job) for job in jobs]):
            yield future.result()
        finished = True
    except BrokenProcessPool:
        raise RunError(f"a worker process {_DIED}") from None
    finally:
        processes = list((pool._processes or {}).values())  # shutdown() sets it to None
        pool.shutdown(wait=finished, cancel_futures=True)
        if not finished:  # an error or Ctrl-C: the other jobs are no longer needed
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()


def _init_worker(parent: int) -> None:
    """Let the parent process handle Ctrl-C, and exit when it exits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    runtime.die_with_parent(parent)


def _run_on_dask(jobs: Sequence[ShardJob], scheduler: str) -> Iterator[ShardCounts]:
    """run_jobs() on the cluster of a scheduler. Raises DataError when it cannot be used."""
    distributed = extras.import_extra("distributed", "--scheduler")
    try:
        client = distributed.Client(scheduler, timeout=_DASK_TIMEOUT, set_as_default=False)
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
        # No retries: a worker that dies is reported at once, and complete shards are kept anyway.
        futures = client.map(create_shard, jobs, pure=False, retries=0)
        try:
            for future in distributed.as_completed(futures, loop=client.loop):
                yield future.result()
        except (distributed.KilledWorker, distributed.client.FutureCancelledError) as error:
            raise RunError(f"a worker of the cluster {_DIED} ({_first_line(error)})") from None
        except ImportError as error:
            raise DataError(
                f"--scheduler {scheduler}: its workers cannot import the required modules "
                f"({_first_line(error)}): install this package there too"
            ) from None
        finally:
            client.cancel(futures, force=True)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]
