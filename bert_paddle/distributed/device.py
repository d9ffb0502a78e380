"""Choosing the device of this process: --device and --n_gpu."""

from bert_paddle.common import runtime
from bert_paddle.common.errors import FlagError, UserError
from bert_paddle.distributed import environment, rendezvous


def set_up_device(device: str = "auto", n_gpu: int = 1) -> None:
    """Prepare a single process for a model: import paddle and select the device.

    device: auto, cpu or gpu. Raises FlagError if a GPU is requested and there is none, UserError
    if the environment says that the process is one of several, or is wrong.
    """
    rendezvous.check_environment()
    processes = environment.whole_number("PADDLE_TRAINERS_NUM", 1)
    if processes > 1:
        raise UserError(
            f"PADDLE_TRAINERS_NUM={processes} says that this process is one of several, but it "
            "works alone: unset PADDLE_TRAINERS_NUM, and start it without Paddle's launcher"
        )
    runtime.configure(1, use_gpu=n_gpu > 0 and device != "cpu")
    runtime.import_paddle()
    select_device(n_gpu, device)


def select_device(n_gpu: int, device: str) -> int:
    """The number of visible GPUs; 0, after selecting the CPU or the device of --device, if there
    are none to use. Raises FlagError for a device that Paddle does not have."""
    import paddle

    kind = device.partition(":")[0]
    if kind not in ("auto", "cpu", "gpu"):
        _select_other_device(device)
        return 0
    if not paddle.is_compiled_with_cuda() or n_gpu == 0 or device == "cpu":
        count = 0
    else:
        count = paddle.device.cuda.device_count()
    if not count:
        if kind == "gpu":
            raise FlagError(
                [
                    f"--device {device}, but this PaddlePaddle sees no GPU (omit --device to use "
                    "the CPU)"
                ]
            )
        paddle.set_device("cpu")
    elif ":" in device:
        _set_device(device)
    return count


def _select_other_device(device: str) -> None:
    """Select a device that is neither CPU nor GPU. Raises FlagError if Paddle does not have it."""
    import paddle

    device_types = paddle.device.get_all_device_type()  # without the CPU in a CPU build
    known = {"cpu", *device_types, *paddle.device.get_all_custom_device_type()}
    if device.partition(":")[0] not in known:
        raise FlagError(
            [f"--device {device}: this PaddlePaddle is built for {', '.join(sorted(known))} only"]
        )
    _set_device(device)


def _set_device(device: str) -> None:
    import paddle

    try:
        paddle.set_device(device)
    except (ValueError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise FlagError([f"--device {device}: Paddle cannot use it ({reason})"]) from None
