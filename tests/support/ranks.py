"""Programs that tests run as jobs: `python ranks.py NAME FOLDER N`.

Each runs through `launch` like run_glue.py: in one process, in N spawned ones, or under Paddle's
launcher.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def command(name: str, folder: Path, processes: int) -> list[str]:
    """`name`: a function of this module."""
    return [str(HERE / "ranks.py"), name, str(folder), str(processes)]


def start(name: str, folder: Path, processes: int, *launcher: str, **variables: str):
    """Start the job, in the environment of a user without GPUs."""
    import forks
    from jobs import without_job

    folder.mkdir(parents=True, exist_ok=True)
    environment = without_job() | {"PYTHONPATH": f"{ROOT}:{HERE}"} | variables
    if not launcher:
        return forks.start(command(name, folder, processes), folder, environment)
    return subprocess.Popen(
        [sys.executable, "-u", *launcher, *command(name, folder, processes)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_in_forks(name: str, folder: Path, processes: int):
    """Start the job as ranks under Paddle's launcher, without a new Python for each."""
    import forks
    from jobs import without_job

    folder.mkdir(parents=True, exist_ok=True)
    environment = without_job() | {"PYTHONPATH": f"{ROOT}:{HERE}"}
    if processes == 1:
        return [forks.start(command(name, folder, 1), folder, environment)]
    argvs = [command(name, folder, 1)] * processes
    return forks.start_ranks(argvs, folder, [environment] * processes)


def train(args) -> None:
    """Run everything in <folder>/plan.json, {name: [program, variant, flags]}; rank 0 writes each
    step's gradients after the all-reduce, and the number of all-reduces, to <name>.npz."""
    import paddle.distributed

    from bert_paddle.distributed import collectives
    from bert_paddle.glue import finetune
    from bert_paddle.glue.args import parse_args as glue_args
    from bert_paddle.pretrain import pretrain
    from bert_paddle.pretrain.args import parse_args as pretrain_args

    original = (
        collectives.all_reduce_gradients,
        paddle.distributed.all_reduce,
        collectives.all_reduce_counts,
    )
    gradients: list[np.ndarray] = []
    all_reduces: list[int] = []

    def recorded(parameters) -> None:
        original[0](parameters)
        flat = [p.grad.numpy().ravel() for p in parameters if p.grad is not None]
        gradients.append(np.concatenate(flat))

    def counted(*tensors, **options):
        all_reduces.append(1)
        return original[1](*tensors, **options)

    def means_of_ranks(counts: dict[str, int]) -> dict[str, int]:
        """The divisor of a mean over the ranks' own means."""
        size = collectives.get_world().size
        summed = original[2](counts)
        return {name: counts.get(name, 0) * size for name in summed}

    collectives.all_reduce_gradients, paddle.distributed.all_reduce = recorded, counted
    folder = Path(args.output_dir)
    for name, (program, variant, flags) in json.loads((folder / "plan.json").read_text()).items():
        collectives.all_reduce_counts = (
            means_of_ranks if variant == "mean of means" else original[2]
        )
        if program == "who_runs_first":
            who_runs_first(folder, flags)
            continue
        gradients.clear(), all_reduces.clear()
        argv = [*flags, "--output_dir", str(folder / name)]
        if program == "glue":
            finetune.run(glue_args(argv))
        else:
            pretrain.run(pretrain_args(argv))
        if collectives.get_world().is_main:
            np.savez(folder / f"{name}.npz", gradients=gradients, all_reduces=len(all_reduces))


def exchange(args) -> None:
    """All-gather numbers endlessly; at number 3, rank $RANKS_FAULTY has the fault $RANKS_FAULT."""
    from bert_paddle.common.errors import RunError
    from bert_paddle.distributed import collectives

    rank = collectives.get_world().rank
    faulty_rank = int(os.environ.get("RANKS_FAULTY", "-1"))
    fault = os.environ.get("RANKS_FAULT", "")
    (Path(args.output_dir) / f"pid{rank}").write_text(str(os.getpid()))
    (Path(args.output_dir) / f"secret{rank}").write_text(os.environ["BERT_PADDLE_JOB_SECRET"])
    (Path(args.output_dir) / f"command{rank}").write_bytes(Path("/proc/self/cmdline").read_bytes())
    for number in range(10**9):
        if number == 3 and rank == faulty_rank:
            if fault in ("SIGSTOP", "SIGKILL"):
                os.kill(os.getpid(), getattr(signal, fault))
            elif fault == "RunError":
                raise RunError("the loss is nan")
            elif fault == "MemoryError":
                raise MemoryError("Cannot allocate 8 GB")
            elif fault == "bug":
                raise ZeroDivisionError("a bug")
            elif fault == "sleep":
                time.sleep(float(os.environ["RANKS_SECONDS"]))
                collectives.all_gather(number)
                return
        elif number == 4 and fault == "sleep":
            return
        assert collectives.all_gather(number) == [number] * collectives.get_world().size
        if number < 5 and collectives.get_world().is_main:
            print("exchange", number, flush=True)
        time.sleep(0.01)


def who_runs_first(folder: Path, endpoints: list[str]) -> None:
    """Write to <folder>/order the ranks in the order in which run_on_main_first calls them, in a
    job with other endpoints."""
    from bert_paddle.distributed import collectives

    def append_rank() -> int:
        with (folder / "order").open("a") as file:
            file.write(f"{collectives.get_world().rank}\n")
        time.sleep(0.2)
        return collectives.get_world().rank

    own = os.environ["PADDLE_TRAINER_ENDPOINTS"]
    os.environ["PADDLE_TRAINER_ENDPOINTS"] = ",".join(endpoints)
    assert collectives.run_on_main_first(append_rank) == collectives.get_world().rank
    os.environ["PADDLE_TRAINER_ENDPOINTS"] = own


if __name__ == "__main__":
    from bert_paddle.common.error_exit import exit_with_one_line
    from bert_paddle.distributed.launch import launch
    from bert_paddle.glue.args import parse_args

    program, output_dir, n_gpu = sys.argv[1:]
    flags = f"--task_name sst2 --model_name_or_path none --n_gpu {n_gpu} --output_dir"
    with exit_with_one_line():
        launch(f"ranks:{program}", parse_args([*flags.split(), output_dir]))
