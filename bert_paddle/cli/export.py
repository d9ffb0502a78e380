"""`bert-paddle export MODEL_DIR --format ...`: convert a model for another tool and check it."""

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
logits are compared with the model's. If the tool is not installed, the result is "unchecked".
"""
EXPORT, OTHER = "export", "other"


@dataclasses.dataclass
class ExportArgs:
    """Everything `export` takes."""

    model: tuple[str, ...] = flags.positional(
        "MODEL_DIR", "a model's folder, such as a run's model_<step>", minimum=1
    )
    format: str = flag(
        REQUIRED,
        "hf: a folder for transformers; onnx: for ONNX Runtime; paddle_inference: for Paddle's "
        "inference engine",
        group=EXPORT,
        choices=FORMATS,
    )
    output: str | None = flag(
        None, "the folder to write; default: MODEL_DIR_<format>", group=EXPORT, alias="o"
    )
    overwrite: bool = flag(False, "replace an earlier export in that folder", group=EXPORT)
    checker: str | None = flag(
        None,
        "python of an environment with the format's tool, for the check; default: this one",
        group=EXPORT,
    )
    debug: bool = flag(False, "show the traceback of every error", group=OTHER)

    def problems(self) -> Iterator[str]:
        """What is wrong between flags, one message each."""
        if len(self.model) > 1:
            yield f"give one MODEL_DIR, not {len(self.model)}"


def main(argv: Sequence[str]) -> None:
    """Export, and print the folder and the result of the check. Raises UserError, and RunError if
    the export's logits differ from the model's."""
    args = flags.parse(ExportArgs, DESCRIPTION, argv)
    set_up_device("cpu")  # where the tools compute too
    from bert_paddle.export.export import export_model

    result = export_model(args.model[0], args.format, args.output, args.overwrite, args.checker)
    print(f"exported: {result.folder} ({args.format}, {result.size / 1e6:.1f} MB)")
    print(result.check)
