"""`bert-paddle export MODEL_DIR --format ...`: a model in the form of another tool, checked."""

import dataclasses
from collections.abc import Iterator, Sequence

from bert_paddle.common import flags
from bert_paddle.common.flags import REQUIRED, flag
from bert_paddle.distributed.launch import set_up_device
from bert_paddle.export import FORMATS

DESCRIPTION = """Write a model as a Hugging Face folder, as ONNX or for Paddle Inference.

  bert-paddle export out/model_345 --format onnx
  bert-paddle export out/model_345 --format hf -o mrpc_hf --checker /path/to/env/bin/python

The tool of the format then runs the export in another process, on rows of several lengths, and its
logits are compared with the model's. Where it is not installed, the result says unchecked.
"""
EXPORT, OTHER = "export", "other"


@dataclasses.dataclass
class ExportArgs:
    """Everything `export` takes."""

    model: tuple[str, ...] = flags.positional(
        "MODEL_DIR", "a model's folder, such as a run's model_<step>", least=1
    )
    format: str = flag(
        REQUIRED,
        "hf: a folder for transformers; onnx: for ONNX Runtime; paddle_inference: for Paddle's "
        "inference engine",
        group=EXPORT,
        choices=FORMATS,
    )
    output: str | None = flag(
        None, "the folder to write; else MODEL_DIR_<format>", group=EXPORT, alias="o"
    )
    overwrite: bool = flag(False, "replace an earlier export in that folder", group=EXPORT)
    checker: str | None = flag(
        None,
        "the python that checks, of an environment with the format's tool; else this one",
        group=EXPORT,
    )
    debug: bool = flag(False, "show the traceback of every error", group=OTHER)

    def problems(self) -> Iterator[str]:
        """What is wrong with the flags taken together, one clause each."""
        if len(self.model) > 1:
            yield f"one MODEL_DIR is exported at a time, and there are {len(self.model)}"


def main(argv: Sequence[str]) -> None:
    """Export, and say where to and how it compares. Raises UserError, and RunError where the
    export is not the same model."""
    args = flags.parse(ExportArgs, DESCRIPTION, argv)
    set_up_device("cpu")  # where every tool that checks computes too
    from bert_paddle.export.export import export

    done = export(args.model[0], args.format, args.output, args.overwrite, args.checker)
    print(f"exported: {done.folder} ({args.format}, {done.size / 1e6:.1f} MB)")
    print(done.checked)
