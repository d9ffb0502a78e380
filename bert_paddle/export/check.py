"""Run an export with its format's own runtime, in a separate process, and compare the logits.

The separate process runs the folder `checker`, possibly with the Python of another environment.
"""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common.errors import FlagError, RunError
from bert_paddle.export.sample import SampleBatch
from bert_paddle.export.source import ExportSource

TOLERANCE = 1e-5
_TIMEOUT_SECONDS = 1800  # usually one or two minutes; bert-large on a busy machine takes longer
_CHECKER_DIR = Path(__file__).parent / "checker"
# Everything the checker needs is local: it must not use the network.
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "GLOG_minloglevel": "2"}


@dataclass(frozen=True)
class CheckResult:
    """The result of comparing an export with the original model.

    skip_reason: why they were not compared, or None. runtime: name and version of the runtime that
    ran the export. rows, batches: size of the sample. max_difference: the largest absolute
    difference between a logit of the export and of the original. max_logit: the original's largest
    absolute logit.
    """

    skip_reason: str | None = None
    runtime: str = ""
    rows: int = 0
    batches: int = 0
    max_difference: float = 0.0
    max_logit: float = 0.0

    @property
    def tolerance(self) -> float:
        """The largest difference that passes: 1e-5, multiplied by the largest logit if that is
        above 1, because float32 has about seven significant digits."""
        return TOLERANCE * max(1.0, self.max_logit)

    def __str__(self) -> str:
        if self.skip_reason:
            return f"unchecked ({self.skip_reason})"
        return (
            f"checked by {self.runtime} in another process: largest difference of logits "
            f"{self.max_difference:.2g} (logits up to {self.max_logit:.2g}; {self.rows} rows in "
            f"{self.batches} batches)"
        )


def find_checker_python(checker: str | None) -> str:
    """The absolute path of the Python interpreter that runs the check: `checker` (a path or a name
    on PATH), or the current one for None. Raises FlagError if there is no such program."""
    if checker is None:
        return sys.executable
    python = shutil.which(os.path.expanduser(checker))
    if python is None:
        raise FlagError(
            [
                f"--checker {checker} is not an executable program: give a Python interpreter "
                "with the format's runtime installed"
            ]
        )
    return os.path.abspath(python)  # symlinks are kept: a virtual environment's python is one


def compare_logits(
    export_format: str,
    folder: Path,
    source: ExportSource,
    batches: Sequence[SampleBatch],
    python: str,
) -> CheckResult:
    """Run the export in `folder` on the batches in a separate process, and compare its logits with
    the original model's.

    Raises RunError when that process fails, or when logits are not finite or differ by more than
    the tolerance.
    """
    expected = [_model_outputs(source, batch) for batch in batches]
    with tempfile.TemporaryDirectory() as work_dir:
        status, outputs = _run_checker(export_format, folder, batches, python, Path(work_dir))
    if "skip_reason" in status:
        return CheckResult(skip_reason=status["skip_reason"])
    if _shapes(outputs) != _shapes(expected):
        raise RunError(
            f"the export is wrong: its outputs in {status['runtime']} have different shapes; "
            "nothing was written"
        )
    pairs = [
        (ours, theirs)
        for our_outputs, their_outputs in zip(expected, outputs, strict=True)
        for ours, theirs in zip(our_outputs, their_outputs, strict=True)
    ]
    differences = [np.abs(ours - theirs).max() for ours, theirs in pairs]
    result = CheckResult(
        runtime=status["runtime"],
        rows=sum(len(batch.inputs["input_ids"]) for batch in batches),
        batches=len(batches),
        max_difference=float(np.max(differences)),  # unlike max(): NaN if one is NaN
        max_logit=max(float(np.abs(ours).max()) for ours, _ in pairs),
    )
    # An infinite logit makes the tolerance infinite as well.
    if not math.isfinite(result.max_difference) or result.max_difference > result.tolerance:
        raise RunError(
            f"the export is wrong: its logits in {result.runtime} differ by up to "
            f"{result.max_difference:.2g}, and the tolerance is {result.tolerance:.2g}; nothing "
            "was written"
        )
    return result


def run_onnx(
    model: Path, batches: Sequence[SampleBatch], python: str
) -> tuple[list[np.ndarray], float]:
    """The logits [rows, classes] of every batch by ONNX Runtime, and the seconds that it took, in a
    separate process. Raises RunError when that fails, FlagError as `compare_logits`."""
    with tempfile.TemporaryDirectory() as work_dir:
        status, outputs = _run_checker("onnx", model, batches, python, Path(work_dir))
    if "skip_reason" in status:
        raise RunError(f"ONNX Runtime could not run the model: {status['skip_reason']}")
    return [arrays[0] for arrays in outputs], float(status["seconds"])


def _shapes(outputs: list[list[np.ndarray]]) -> list[list[tuple[int, ...]]]:
    return [[array.shape for array in arrays] for arrays in outputs]


def _model_outputs(source: ExportSource, batch: SampleBatch) -> list[np.ndarray]:
    """The original model's logits: one array for a classifier; for a pre-training model, those of
    the masked-LM head and of the next-sentence head."""
    import paddle

    inputs = {name: paddle.to_tensor(value) for name, value in batch.inputs.items()}
    with paddle.no_grad():
        outputs = source.model(**inputs)
    return [tensor.numpy() for tensor in (outputs if isinstance(outputs, tuple) else (outputs,))]


def _run_checker(
    export_format: str, folder: Path, batches: Sequence[SampleBatch], python: str, work_dir: Path
) -> tuple[dict[str, Any], list[list[np.ndarray]]]:
    """Run the checker. Returns its status ("runtime", or "skip_reason" if it could not run the
    export), and the output arrays of every batch.

    Raises FlagError when --checker is not a usable Python, RunError when the check fails.
    """
    arrays: dict[str, Any] = {
        f"{k}_{i}": v for i, batch in enumerate(batches) for k, v in batch.inputs.items()
    }
    texts = json.dumps([batch.texts for batch in batches])
    np.savez(work_dir / "sample.npz", texts=np.array(texts), **arrays)
    folder_path = str(folder.absolute())
    command = [python, str(_CHECKER_DIR), export_format, folder_path, "sample.npz", "result"]
    try:
        process = subprocess.run(
            command,
            cwd=work_dir,
            env={**os.environ, **_OFFLINE},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
        )
    except OSError as error:
        raise FlagError([f"--checker {python} cannot be run ({error.strerror})"]) from None
    except subprocess.TimeoutExpired:
        raise RunError(
            f"the check of the export ({python}) was stopped after {_TIMEOUT_SECONDS} s; nothing "
            "was written"
        ) from None
    lines = process.stderr.strip().splitlines() or [f"exit code {process.returncode}"]
    # The checker creates "started" first of all: without it, `python` could not run the checker.
    if not (work_dir / "started").exists() and python != sys.executable:
        raise FlagError([f"--checker {python} is not a Python that can run the check: {lines[-1]}"])
    status_file = work_dir / "result.json"
    if process.returncode != 0 or not status_file.is_file():
        raise RunError(f"the check of the export failed ({python}): {lines[-1]}")
    status = json.loads(status_file.read_text(encoding="utf-8"))
    if "skip_reason" in status:
        return status, []
    with np.load(work_dir / "result.npz") as stored:  # <batch>_<output>: array
        outputs = [
            [stored[f"{i}_{k}"] for k in range(sum(n.startswith(f"{i}_") for n in stored.files))]
            for i in range(len(batches))
        ]
    return status, outputs
