"""What a trained model consists of, as lines for the log: parameters by name and shape, files by
size."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

_EMBEDDINGS, _FIRST_LAYER, _LAST_NORM = (
    "gpt.embeddings.",
    "gpt.decoder.layers.0.",
    "gpt.decoder.norm",
)


def parameter_lines(model: Any) -> Iterator[str]:
    """The parameters of the embeddings, of the first layer and of the output layer with their
    shapes; the other layers are like the first one."""
    shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
    layers = model.config.num_hidden_layers
    yield f"parameters: {len(shapes)} tensors"
    for title, prefix in (
        ("embeddings", _EMBEDDINGS),
        (f"first of {layers} layers", _FIRST_LAYER),
        ("output layer (its weight is that of the word embeddings)", _LAST_NORM),
    ):
        own = {name: shape for name, shape in shapes.items() if name.startswith(prefix)}
        yield f"  {title}:"
        width = max(map(len, own))
        yield from (f"    {name:<{width}}  {shape}" for name, shape in own.items())


def file_lines(folder: Path) -> Iterator[str]:
    """The files in a model's folder with their sizes, without the state of the training."""
    yield f"saved in {folder}:"
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        yield f"  {path.name:<24} {path.stat().st_size:>13,} bytes"
