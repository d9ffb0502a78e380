"""Have the tool of an export's format run it in another process, and compare the logits."""

import json
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
_MOST_SECONDS = 1800  # a minute or two is usual; bert-large on a busy machine takes some
_CHECKER = Path(__file__).parent / "checker"
# The sample is small and the folder is here: nothing is to be looked for on a network.
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "GLOG_minloglevel": "2"}


@dataclass(frozen=True)
class Checked:
    """How an export compares. unchecked: why it could not be compared, or None.

    by: the tool and its version. rows, batches: of the sample. difference: the largest absolute
    difference of two logits. largest: the largest absolute logit, of ours.
    """

    unchecked: str | None = None
    by: str = ""
    rows: int = 0
    batches: int = 0
    difference: float = 0.0
    largest: float = 0.0

    @property
    def allowed(self) -> float:
        """The largest difference that passes: 1e-5, relative to the logits' scale where that is
        above 1, since float32 has seven digits whatever their place."""
        return TOLERANCE * max(1.0, self.largest)

    def __str__(self) -> str:
        if self.unchecked:
            return f"unchecked ({self.unchecked})"
        return (
            f"checked by {self.by} in another process: largest difference of logits "
            f"{self.difference:.2g} (logits up to {self.largest:.2g}; {self.rows} rows in "
            f"{self.batches} batches)"
        )


def interpreter(checker: str | None) -> str:
    """The Python that checks: this one, or that of `--checker`, a path or a name on PATH."""
    if checker is None:
        return sys.executable
    found = shutil.which(os.path.expanduser(checker))
    if found is None:
        raise FlagError(
            [
                f"--checker {checker} is no program: give the python of an environment that has "
                "the format's tool"
            ]
        )
    return os.path.abspath(found)  # not resolved: a virtual environment's python is a link


def compare(
    form: str, folder: Path, source: ExportSource, batches: Sequence[SampleBatch], python: str
) -> Checked:
    """Run the export in `folder` in another process on the batches, and compare with our model.

    Raises RunError when the other process fails, or when logits differ by more than `allowed`.
    """
    ours = [_outputs(source, batch) for batch in batches]
    with tempfile.TemporaryDirectory() as place:
        said, theirs = _ask(form, folder, batches, python, Path(place))
    if "unchecked" in said:
        return Checked(unchecked=said["unchecked"])
    if [[a.shape for a in made] for made in theirs] != [[a.shape for a in made] for made in ours]:
        raise RunError(f"the export is wrong: {said['by']} gives outputs of other shapes")
    both = [
        (a, b)
        for mine, their in zip(ours, theirs, strict=True)
        for a, b in zip(mine, their, strict=True)
    ]
    checked = Checked(
        by=said["by"],
        rows=sum(len(batch.inputs["input_ids"]) for batch in batches),
        batches=len(batches),
        difference=max(float(np.abs(a - b).max()) for a, b in both),
        largest=max(float(np.abs(a).max()) for a, _ in both),
    )
    if not checked.difference <= checked.allowed:  # also when it is not a number
        raise RunError(
            f"the export is wrong: with {checked.by} logits differ by up to "
            f"{checked.difference:.2g}, and {checked.allowed:.2g} is allowed; nothing was kept"
        )
    return checked


def _outputs(source: ExportSource, batch: SampleBatch) -> list[np.ndarray]:
    """Our model's outputs: logits; of a pre-training model those over words and of the pair."""
    import paddle

    inputs = {name: paddle.to_tensor(value) for name, value in batch.inputs.items()}
    with paddle.no_grad():
        made = source.model(**inputs)
    return [one.numpy() for one in (made if isinstance(made, tuple) else (made,))]


def _ask(
    form: str, folder: Path, batches: Sequence[SampleBatch], python: str, place: Path
) -> tuple[dict[str, Any], list[list[np.ndarray]]]:
    """What the checker says, and the outputs of every batch. Raises FlagError for a --checker
    that is no Python, RunError for a check that fails."""
    arrays = {f"{k}_{i}": v for i, batch in enumerate(batches) for k, v in batch.inputs.items()}
    texts = json.dumps([batch.texts for batch in batches])
    np.savez(place / "sample.npz", texts=np.array(texts), **arrays)
    words = [python, str(_CHECKER), form, str(folder.absolute()), "sample.npz", "answer"]
    try:
        done = subprocess.run(
            words,
            cwd=place,
            env={**os.environ, **_OFFLINE},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_MOST_SECONDS,
        )
    except OSError as error:
        raise FlagError([f"--checker {python} cannot be run ({error.strerror})"]) from None
    except subprocess.TimeoutExpired:
        raise RunError(
            f"the check of the export ({python}) was not done after {_MOST_SECONDS} s, and was "
            "ended; nothing was kept"
        ) from None
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    if not (place / "begun").exists() and python != sys.executable:
        raise FlagError([f"--checker {python} is no Python that can check: {lines[-1]}"])
    answer = place / "answer.json"
    if done.returncode != 0 or not answer.is_file():
        raise RunError(f"the check of the export failed ({python}): {lines[-1]}")
    said = json.loads(answer.read_text(encoding="utf-8"))
    if "unchecked" in said:
        return said, []
    with np.load(place / "answer.npz") as held:
        theirs = [
            [held[f"{i}_{k}"] for k in range(sum(n.startswith(f"{i}_") for n in held.files))]
            for i in range(len(batches))
        ]
    return said, theirs
