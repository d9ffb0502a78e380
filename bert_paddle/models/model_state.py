"""Copies, writes and restores the state of a model and its optimizer.

A checkpoint has the weights in config.json and model.safetensors, which PaddleNLP's
`from_pretrained` loads; the optimizer's state is stored under the model's parameter names.
"""

import ctypes
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common import atomic_files, read_files
from bert_paddle.common.errors import OutputError
from bert_paddle.common.tensor_file import TensorSnapshot

WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"
# Entries of config.json that do not change what the model computes.
_DESCRIPTIVE_KEYS = {
    "architectures",
    "paddlenlp_version",
    "id2label",
    "label2id",
    "num_labels",
    "dtype",
}


def set_tensors(model: Any, tensors: dict[str, np.ndarray]) -> None:
    """Copy tensors into the model's parameters of the same names, cast to their dtype."""
    import paddle

    state = model.state_dict()
    for name, value in tensors.items():
        tensor = paddle.to_tensor(np.ascontiguousarray(value))
        state[name].set_value(tensor.astype(state[name].dtype))


def seeded_normal(name: str, shape: Sequence[int], std: float, seed: int) -> np.ndarray:
    """float32 values from N(0, std) that depend only on a parameter's name, its shape and the seed:
    they are the same in every process."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return rng.standard_normal(tuple(shape), np.float32) * np.float32(std)


def numpy_state_dict(model: Any) -> dict[str, np.ndarray]:
    """Copies of the model's tensors by name; half precision is converted to float32."""
    return {name: _copy_to_numpy(value) for name, value in model.state_dict().items()}


def snapshot_tensors(tensors: Mapping[str, Any]) -> TensorSnapshot:
    """A snapshot to write to a file: if all tensors are float32 and on the CPU, views of their
    memory; otherwise copies, with half precision converted to float32."""
    on_cpu = all(value.place.is_cpu_place() for value in tensors.values())
    shareable = on_cpu and all(str(value.dtype) == "paddle.float32" for value in tensors.values())
    if not shareable:
        return TensorSnapshot({name: _copy_to_numpy(value) for name, value in tensors.items()})
    contiguous = {name: value.contiguous() for name, value in tensors.items()}
    views = {name: _memory_view(value) for name, value in contiguous.items()}
    return TensorSnapshot(views, shared=True, owners=list(contiguous.values()))


def _memory_view(tensor: Any) -> np.ndarray:
    """A view of a contiguous float32 tensor's memory, valid as long as the tensor exists."""
    values = (ctypes.c_float * tensor.size).from_address(tensor.data_ptr())
    return np.ctypeslib.as_array(values).reshape(tensor.shape)


def _copy_to_numpy(tensor: Any) -> np.ndarray:
    is_half = "float16" in str(tensor.dtype)  # float16 or bfloat16
    tensor = tensor.astype("float32") if is_half else tensor
    # Paddle's numpy() may return a view of the tensor's memory, which training changes.
    return np.array(tensor.numpy(), order="C")


def weights_digest(model: Any) -> str:
    """A digest of the model's tensors and their names, shapes and dtypes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode())
        contiguous = tensor.contiguous()
        if tensor.place.is_cpu_place() and str(tensor.dtype) == "paddle.float32":
            array = _memory_view(contiguous)  # numpy() would copy it, which takes longer
        else:
            array = np.ascontiguousarray(contiguous.numpy())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def config_values(model: Any) -> dict[str, Any]:
    """The entries of the model's config.json that change what it computes."""
    config = json.loads(model.config.to_json_string())
    return {name: value for name, value in config.items() if name not in _DESCRIPTIVE_KEYS}


def model_writer(
    model: Any, extra_config: dict[str, Any], tensors: TensorSnapshot | None = None
) -> Callable[[Path], None]:
    """Return a function that writes the model's state as of this call into a folder, as config.json
    and model.safetensors, even if training continues before the function runs.

    extra_config: entries to add to config.json. tensors: a snapshot of the weights, by default a
    copy; a shared one must be materialized before the weights change.
    """
    config = json.loads(model.config.to_json_string())
    for name in ("id2label", "label2id", "num_labels"):
        config.pop(name, None)
    config |= {"architectures": [type(model).__name__], "model_type": "bert", **extra_config}
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    values = tensors or numpy_state_dict(model)

    def write(folder: Path) -> None:
        (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
        atomic_files.write_tensors(folder / WEIGHTS_FILE, values)

    return write


def check_same_config(model: Any, folder: Path) -> None:
    """Raise OutputError if the checkpoint in `folder` has another configuration than `model`."""
    saved = read_files.read_json_object(folder / CONFIG_FILE) or {}
    current = config_values(model)
    differences = [
        f"{name} was {saved[name]!r} and is {current[name]!r}"
        for name in sorted(saved.keys() & current.keys())
        if saved[name] != current[name]
    ]
    if differences:
        raise OutputError(
            f"cannot resume from {folder}: the model's {', '.join(differences)}; give the model "
            "that the run started with, or another --output_dir for a new run"
        )


def restore_weights(model: Any, folder: Path) -> None:
    """Load the weights of a checkpoint, written by `model_writer`, into `model`."""
    from safetensors.numpy import load_file

    set_tensors(model, load_file(folder / WEIGHTS_FILE))


def optimizer_tensors(model: Any, optimizer: Any) -> dict[str, Any]:
    """The optimizer's state tensors, not copied, under `<model's parameter name>|<accumulator>`.

    Paddle's own names contain counters that depend on what else the process has built.
    """
    model_names = {p.name: name for name, p in model.named_parameters()}
    state = optimizer.state_dict()
    masters = state.pop("master_weights", {})
    tensors = {f"{model_names[name]}|master_weight": t for name, t in masters.items()}
    for key, value in state.items():
        if not hasattr(value, "numpy"):
            continue  # not a tensor
        # The longest match, since one parameter's name may begin with another's.
        parameter = max((p for p in model_names if key.startswith(p + "_")), key=len)
        tensors[f"{model_names[parameter]}|{key[len(parameter) + 1 :]}"] = value
    return tensors


def restore_optimizer(model: Any, optimizer: Any, tensors: Mapping[str, np.ndarray]) -> None:
    """Load state tensors, named as by `optimizer_tensors`, into an optimizer.

    A float32 copy of a half-precision weight goes into the weight itself if that is in float32 now.
    """
    import paddle

    paddle_names = {name: p.name for name, p in model.named_parameters()}
    in_float32 = {n for n, p in model.named_parameters() if str(p.dtype) == "paddle.float32"}
    state: dict[str, Any] = {}
    masters: dict[str, Any] = {}
    for key, value in tensors.items():
        name, accumulator = key.split("|")
        if accumulator == "master_weight" and name in in_float32:
            set_tensors(model, {name: value})
        elif accumulator == "master_weight":
            masters[paddle_names[name]] = paddle.to_tensor(value)
        else:
            state[f"{paddle_names[name]}_{accumulator}"] = paddle.to_tensor(value)
    if masters:
        state["master_weights"] = masters
    optimizer.set_state_dict(state)
