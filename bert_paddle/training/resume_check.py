"""Whether a run with these flags, data and machine can resume from a checkpoint.

What would change the training is refused; a difference that is accepted is said in one line.
"""

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from bert_paddle.common.args import CommonArgs
from bert_paddle.common.errors import OutputError
from bert_paddle.common.flag_fields import OnResume, declared_flags, flags_with
from bert_paddle.distributed import collectives
from bert_paddle.models import compute_mode
from bert_paddle.training import checkpoint, fingerprints
from bert_paddle.training.train_state import TRAINING_DATA, TrainState

# What checkpoints before version 6 recorded of how a model is computed.
_MODE_FLAGS_BEFORE_6 = ("cpu_kernels", "recompute", "to_static", "flash_attention")


def saved_flags(resume_from: str) -> dict[str, Any]:
    """The flags of the run that saved a checkpoint, as the main process reads them."""
    return collectives.run_on_main(lambda: checkpoint.saved_args(Path(resume_from)))


@dataclasses.dataclass
class Differences:
    """Between a checkpoint and the run that resumes from it. refused: why it cannot resume.
    accepted: what differs otherwise, a line each. evaluation_changed: whether metrics before and
    after the resume are of different rows."""

    refused: list[str] = dataclasses.field(default_factory=list)
    accepted: list[str] = dataclasses.field(default_factory=list)
    evaluation_changed: bool = False


def take_flags_of_run(args: CommonArgs, saved: Mapping[str, Any]) -> None:
    """Set the flags that a resume takes from its run, unless they are given. saved: the flags of
    the run, by name."""
    for field in flags_with(type(args), on_resume=OnResume.FROM_RUN):
        if field.name not in args.explicit_flags:
            setattr(args, field.name, saved.get(field.name, field.default))


def check_same_run(
    saved: TrainState,
    new: TrainState,
    folder: Path,
    explicit_flags: Collection[str] = (),
    kernels_unavailable: str = "",
    args_class: type[CommonArgs] = CommonArgs,
) -> Differences:
    """Compare the state of the checkpoint `folder` with that of a new run with the present flags
    and data. Raises OutputError, with all reasons, when it cannot resume.

    kernels_unavailable: why this machine cannot use our CPU kernels; "" if it can. args_class:
    declares the program's flags; any other one may not differ.
    """
    differences = Differences()
    _compare_flags(saved, new, explicit_flags, args_class, differences)
    _compare_data(saved, new, differences)
    _compare_compute_mode(saved, new, explicit_flags, kernels_unavailable, args_class, differences)
    if differences.refused:
        raise OutputError(
            f"cannot resume from {folder}: {'; '.join(differences.refused)}; use the original "
            "flags and data, or another --output_dir for a new run"
        )
    return differences


def _compare_flags(
    saved: TrainState,
    new: TrainState,
    explicit_flags: Collection[str],
    args_class: type[CommonArgs],
    differences: Differences,
) -> None:
    fields = {field.name: field for field in declared_flags(args_class)}
    for name, value in new.args.items():
        field = fields.get(name)
        on_resume = field.metadata["on_resume"] if field else OnResume.FIXED
        # A run of a version without the flag did what its default does.
        before = saved.args.get(name, field.default if field else None)
        if on_resume not in (OnResume.FIXED, OnResume.IF_GIVEN) or before == value:
            continue
        text = f"--{name} was {before!r} and is {value!r}"
        recognized_by = field.metadata["recognized_by"] if field else ()
        digests = [key for key in recognized_by if key in new.fingerprints]
        if digests and all(saved.fingerprints.get(k) == new.fingerprints[k] for k in digests):
            continue  # the same content by another path
        if on_resume is OnResume.FIXED:
            differences.refused.append(text)
        elif name in explicit_flags:
            differences.accepted.append(f"{text} from step {saved.step + 1} on")
        else:
            differences.refused.append(f"{text} (to change it, give it explicitly)")


def _compare_data(saved: TrainState, new: TrainState, differences: Differences) -> None:
    for name, digest in new.fingerprints.items():
        # What one of the two runs did not read, such as a dev set without --do_eval, is no
        # difference.
        if saved.fingerprints.get(name, digest) == digest:
            continue
        if name == fingerprints.HELD_OUT_ROWS:
            differences.evaluation_changed = True
            differences.accepted.append(
                f"the {name} that are evaluated have changed: the best step and "
                "--early_stopping_patience start anew"
            )
        elif name.startswith(fingerprints.TEST_SET):
            differences.accepted.append(f"the {name} has changed: the present one is predicted")
        elif name == TRAINING_DATA:
            differences.refused.append(
                "the training data, its labels or the vocabulary have changed"
            )
        elif name != fingerprints.CONFIGURATION:  # model_state.check_same_config names its settings
            differences.refused.append(f"the {name} changed")


def _compare_compute_mode(
    saved: TrainState,
    new: TrainState,
    explicit_flags: Collection[str],
    kernels_unavailable: str,
    args_class: type[CommonArgs],
    differences: Differences,
) -> None:
    before, now = saved.compute_mode, new.compute_mode
    if not before or not now:
        differences.refused += [
            f"--{name} was {saved.args.get(name)!r} and is {new.args.get(name)!r}"
            for name in _MODE_FLAGS_BEFORE_6
            if saved.args.get(name) != new.args.get(name)
        ]
        return
    modes = flags_with(args_class, on_resume=OnResume.COMPUTE_MODE)
    # A run of a version without the flag did what its default does.
    before = {field.name: compute_mode.flag_text(field.default) for field in modes} | before
    changed = {name for name, value in now.items() if before.get(name, value) != value}
    if "device" in changed:
        changed -= {"encoder", "fused_adamw"}  # the CPU and the GPU have their own
    elif "encoder" in changed:
        reason = _encoder_refusal(now, kernels_unavailable)
        accepts = "cpu_kernels" in explicit_flags and not new.args.get("cpu_kernels")
        if kernels_unavailable and accepts:
            differences.accepted.append(
                "PaddleNLP's layers in place of the CPU kernels, which this machine cannot use "
                f"({kernels_unavailable}): other dropout masks"
            )
        else:
            differences.refused.append(reason)
    differences.refused += [
        f"--{name} was {before[name]} and is {now[name]}"
        for name in [field.name for field in modes]
        if name in changed
    ]
    differences.accepted += _machine_differences(before, now)


def _encoder_refusal(now: dict[str, str], kernels_unavailable: str) -> str:
    if now["encoder"] == "kernels":
        return (
            "the run did not use the CPU kernels, which draw other dropout masks (resume with "
            "--cpu_kernels 0)"
        )
    if kernels_unavailable:
        return (
            f"the run used the CPU kernels, which this machine cannot use ({kernels_unavailable}): "
            "resume where it can, or accept other dropout masks with --cpu_kernels 0"
        )
    return (
        "the run used the CPU kernels, without which other dropout masks are drawn (resume with "
        "--cpu_kernels 1 and without --recompute, --to_static and --flash_attention)"
    )


def _machine_differences(before: dict[str, str], now: dict[str, str]) -> Iterator[str]:
    """A line for what changes results with the machine, not with a flag."""
    changed = [
        f"{label} {before[name]} before and {now[name]} now"
        for name, label in (
            ("device", "device"),
            ("processes", "processes"),
            ("products", "matrix products in"),
            ("paddle", "PaddlePaddle"),
        )
        if before.get(name, now.get(name)) != now.get(name)
    ]
    if changed:
        yield (
            f"{', '.join(changed)}: dropout masks or rounding differ from those of an "
            "uninterrupted run"
        )
