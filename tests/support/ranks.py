"""Programs for the processes of a job, and how tests start them: `python ranks.py NAME FOLDER N`.

Each runs through `launch` like run_glue.py, so in one process, in N spawned ones, or under Paddle's
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
    """The job as a subprocess, as a user without GPUs has it."""
    from jobs import without_job

    folder.mkdir(parents=True, exist_ok=True)
    environment = without_job() | {"PYTHONPATH": f"{ROOT}:{HERE}"} | variables
    return subprocess.Popen(
        [sys.executable, "-u", *launcher, *command(name, folder, processes)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train(args) -> None:
    """Every run of <folder>/plan.json, {name: [wing, variant, flags]}; rank 0 keeps each update's
    gradients after their exchange in <name>.npz, with the number of exchanges."""
    import paddle.distributed

    from bert_paddle.distributed import collectives
    from bert_paddle.glue import finetune
    from bert_paddle.glue.args import parse_args as glue_args
    from bert_paddle.pretrain import pretrain
    from bert_paddle.pretrain.args import parse_args as pretrain_args

    real = (
        collectives.all_reduce_gradients,
        paddle.distributed.all_reduce,
        collectives.all_reduce_counts,
    )
    gradients: list[np.ndarray] = []
    exchanges: list[int] = []

    def kept(parameters) -> None:
        real[0](parameters)
        every = [p.grad.numpy().ravel() for p in parameters if p.grad is not None]
        gradients.append(np.concatenate(every))

    def counted(*tensors, **options):
        exchanges.append(1)
        return real[1](*tensors, **options)

    def means_of_ranks(counts: dict[str, int]) -> dict[str, int]:
        """What a mean over the ranks' own means divides by."""
        size = collectives.get_world().size
        signals_too = real[2](counts)
        return {name: counts.get(name, 0) * size for name in signals_too}

    collectives.all_reduce_gradients, paddle.distributed.all_reduce = kept, counted
    folder = Path(args.output_dir)
    for name, (wing, variant, flags) in json.loads((folder / "plan.json").read_text()).items():
        collectives.all_reduce_counts = means_of_ranks if variant == "mean of means" else real[2]
        gradients.clear(), exchanges.clear()
        argv = [*flags, "--output_dir", str(folder / name)]
        if wing == "glue":
            finetune.run(glue_args(argv))
        else:
            pretrain.run(pretrain_args(argv))
        if collectives.get_world().is_main:
            np.savez(folder / f"{name}.npz", gradients=gradients, exchanges=len(exchanges))


def exchange(args) -> None:
    """Exchange numbers without end; at the third, the rank of $RANKS_WHO does $RANKS_DOES."""
    from bert_paddle.common.errors import RunError
    from bert_paddle.distributed import collectives

    rank = collectives.get_world().rank
    who, does = int(os.environ.get("RANKS_WHO", "-1")), os.environ.get("RANKS_DOES", "")
    (Path(args.output_dir) / f"pid{rank}").write_text(str(os.getpid()))
    for number in range(10**9):
        if number == 3 and rank == who:
            if does in ("SIGSTOP", "SIGKILL"):
                os.kill(os.getpid(), getattr(signal, does))
            elif does == "RunError":
                raise RunError("the loss is nan")
            elif does == "MemoryError":
                raise MemoryError("Cannot allocate 8 GB")
            elif does == "fault":
                raise ZeroDivisionError("a fault of ours")
            elif does == "sleep":
                time.sleep(float(os.environ["RANKS_SECONDS"]))
                collectives.all_gather(number)
                return
        elif number == 4 and does == "sleep":
            return
        assert collectives.all_gather(number) == [number] * collectives.get_world().size
        if number < 5 and collectives.get_world().is_main:
            print("exchange", number, flush=True)
        time.sleep(0.01)


def who_runs_first(args) -> None:
    """Leave in <folder>/order the ranks in the order in which main_first calls them."""
    from bert_paddle.distributed import collectives

    def note() -> int:
        with (Path(args.output_dir) / "order").open("a") as file:
            file.write(f"{collectives.get_world().rank}\n")
        time.sleep(0.2)
        return collectives.get_world().rank

    if os.environ.get("RANKS_HOSTS"):
        os.environ["PADDLE_TRAINER_ENDPOINTS"] = os.environ["RANKS_HOSTS"]
    assert collectives.run_on_main_first(note) == collectives.get_world().rank


if __name__ == "__main__":
    from bert_paddle.common.error_exit import exit_with_one_line
    from bert_paddle.distributed.launch import launch
    from bert_paddle.glue.args import parse_args

    program, output_dir, n_gpu = sys.argv[1:]
    flags = f"--task_name sst2 --model_name_or_path none --n_gpu {n_gpu} --output_dir"
    with exit_with_one_line():
        launch(f"ranks:{program}", parse_args([*flags.split(), output_dir]))
