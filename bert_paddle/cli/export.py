"""`bert-paddle export MODEL_DIR --format ...`: convert a model to another format and check it."""

import dataclasses
import sys
from collections.abc import Iterator, Sequence

from bert_paddle.common import flags
from bert_paddle.common.flag_fields import PathUse
from bert_paddle.common.flags import REQUIRED, flag, optional_switch
from bert_paddle.common.printed_lines import print_line
from bert_paddle.distributed.device import set_up_device
from bert_paddle.export import FORMATS

DESCRIPTION = """Write a model as a Hugging Face folder, as ONNX or for Paddle Inference.

  bert-paddle export out/model_345 --format onnx
  bert-paddle export out/model_345 --format hf -o mrpc_hf --checker /path/to/env/bin/python

The format's own runtime then runs the exported model in a separate process, on rows of several
lengths, and its logits are compared with the original's. If the runtime is not installed, the
result is "unchecked".
"""
EXPORT, OTHER = "export", "other"


@dataclasses.dataclass
class ExportArgs:
    """Everything `export` takes."""

    model: tuple[str, ...] = flags.positional(
        "MODEL_DIR", "folder of a model, such as a run's model_<step>", minimum=1, paths=1
    )
    format: str = flag(
        REQUIRED,
        "hf: a folder for transformers; onnx: for ONNX Runtime; paddle_inference: for Paddle's "
        "inference engine",
        group=EXPORT,
        choices=FORMATS,
    )
    output: str | None = flag(
        None,
        "the folder to write; default: MODEL_DIR_<format>",
        group=EXPORT,
        alias="o",
        path=PathUse.OUTPUT,
    )
    do_lower_case: bool | None = optional_switch(
        "whether the model reads lower-cased text; default: as its files say, else as its "
        "vocabulary suggests",
        group=EXPORT,
    )
    overwrite: bool = flag(False, "replace an earlier export in that folder", group=EXPORT)
    checker: str | None = flag(
        None,
        "Python interpreter that runs the check (it needs the format's runtime); default: the "
        "current one",
        group=EXPORT,
    )
    int8: bool = flag(
        False,
        "with --format onnx: 8-bit weights (ONNX Runtime's dynamic quantization), smaller and on "
        "most CPUs faster; the model's metric is compared with that of float32 on a dev set",
        group=EXPORT,
    )
    dev_predictions: str | None = flag(
        None,
        "with --int8: rows with labels, as runs write them; default: dev_predictions.jsonl in the "
        "folder of the model's run",
        group=EXPORT,
        path=PathUse.INPUT,
    )
    max_metric_drop: float = flag(
        1.0,
        "with --int8: points (hundredths) by which the metric may be lower than in float32; with "
        "more, nothing is written",
        group=EXPORT,
        minimum=0,
    )
    debug: bool = flag(False, "show the traceback of every error", group=OTHER)

    def problems(self) -> Iterator[str]:
        """Problems with the arguments, one message each."""
        if len(self.model) > 1:
            yield f"give one MODEL_DIR, not {len(self.model)}"
        if self.int8 and self.format != "onnx":
            yield f"--int8 is for --format onnx, not {self.format}"
        if self.dev_predictions and not self.int8:
            yield "--dev_predictions is read with --int8 only"


def main(argv: Sequence[str]) -> None:
    """Export, and print the folder and the result of the check. Raises UserError for invalid input,
    RunError if the exported model's logits differ from the original's."""
    args = flags.parse(ExportArgs, DESCRIPTION, argv)
    set_up_device("cpu")  # the checking runtimes also run on the CPU
    from bert_paddle.export.export import export_model
    from bert_paddle.export.int8 import Int8Options

    result = export_model(
        args.model[0],
        args.format,
        args.output,
        args.overwrite,
        args.checker,
        args.do_lower_case,
        print_line,
        Int8Options(args.dev_predictions, args.max_metric_drop) if args.int8 else None,
    )
    print_line(f"exported: {result.folder} ({args.format}, {result.size / 1e6:.1f} MB)", sys.stdout)
    print_line(str(result.check), sys.stdout)
    if result.quantized:
        print_line(str(result.quantized), sys.stdout)
