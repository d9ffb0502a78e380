"""What a program says at its start: which processes and devices it uses."""

from collections import Counter
from collections.abc import Iterator

from bert_paddle.common import gpu_driver
from bert_paddle.common.args import CommonArgs
from bert_paddle.distributed import collectives


def startup_notes(
    args: CommonArgs, gpus: int, from_launcher: bool, cpu_settings: str
) -> Iterator[str]:
    """The lines to print before a program begins. gpus: how many are visible to this process.
    cpu_settings: `runtime.configure`'s summary."""
    yield from args.notes
    if from_launcher:
        if "n_gpu" in args.explicit_flags:
            size = collectives.get_world().size
            yield f"started by paddle.distributed.launch: {size} process(es), --n_gpu is ignored"
    elif not gpus and args.n_gpu > 0 and args.device == "auto":
        yield f"warning: no GPU is visible; running {args.n_gpu} process(es) on the CPU"
        if problem := gpu_driver.unfit_build():
            yield f"warning: {problem}"
    if not gpus:
        on_cpu = collectives.on_cpu()
        yield f"CPU: {cpu_settings}" if on_cpu else f"device: {args.device}"
    elif from_launcher:
        size = collectives.get_world().size
        yield f"GPU: {size} process(es), one GPU each; on this host: {gpu_names(range(gpus))}"
    else:
        used = min(args.n_gpu, gpus)
        more = f" ({gpus} are visible; --n_gpu uses more)" if used < gpus else ""
        yield f"GPU: {gpu_names(range(used))}{more}"


def gpu_names(indices: range) -> str:
    """Number, names and memory of GPUs that PaddlePaddle sees, such as "2 x NVIDIA A100, 80 GiB".
    indices: which of the visible ones. Only the number if the driver does not tell more."""
    from paddle.device import cuda

    try:
        found = [cuda.get_device_properties(index) for index in indices]
    except (OSError, RuntimeError, ValueError) as error:
        return f"{len(indices)}, of unknown kind ({str(error).strip().splitlines()[0]})"
    kinds = Counter(f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in found)
    return " + ".join(f"{count} x {kind}" for kind, count in kinds.items())
