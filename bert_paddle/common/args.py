"""The flags shared by all training programs, and the checks across them."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from bert_paddle.common import peer_flags
from bert_paddle.common.flag_fields import (
    OnRanks,
    OnResume,
    PathUse,
    Results,
    declared_flags,
    flag,
    flag_names,
)
from bert_paddle.common.flag_groups import DEVICE, EVALUATION, MODEL, SAVING, SCHEDULE, TRAIN
from bert_paddle.common.outputs import Input
from bert_paddle.common.peer_flags import PeerFlag
from bert_paddle.common.run_args import RunArgs
from bert_paddle.common.train_args import TrainArgs

__all__ = ["DEVICE", "EVALUATION", "MODEL", "SAVING", "SCHEDULE", "TRAIN", "CommonArgs"]
_PUBLISHER = "google-bert/"  # of BERT on Hugging Face's hub
PADDLENLP_LAYERS = "computed by PaddleNLP's layers, never by our CPU kernels"


@dataclasses.dataclass
class CommonArgs(RunArgs, TrainArgs):
    """Flags of all training programs. Users' scripts rely on names and defaults."""

    n_gpu: int = flag(
        1,
        "0: the CPU; N: N processes with one GPU each, or on the CPU if there is no GPU",
        group=DEVICE,
        minimum=0,
        maximum=64,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.FREE,
    )
    device: str = flag(
        "auto",
        "auto: GPUs if available; cpu, gpu, gpu:1, xpu, npu, ...: passed to Paddle",
        group=DEVICE,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.FREE,
        results=Results.SAME,
    )
    cpu_kernels: bool = flag(
        True,
        "on the CPU, run the encoder with this package's C kernels, compiled at first use; with 0, "
        "or without a C compiler, with PaddleNLP's layers: slower, equal results up to rounding "
        "but for other dropout masks (a resumed run must keep it)",
        group=DEVICE,
        on_resume=OnResume.COMPUTE_MODE,
    )
    use_amp: bool = flag(
        False,
        "automatic mixed precision: on GPUs, and with --amp_dtype bfloat16 on CPUs that have "
        "bfloat16 instructions",
        group=DEVICE,
        on_resume=OnResume.IF_GIVEN,  # a way out of a loss that is not finite, as the next two
    )
    amp_level: str = flag(
        "O1",
        "O1: selected operations in half precision, O2: the whole model",
        group=DEVICE,
        choices=("O1", "O2"),
        on_resume=OnResume.IF_GIVEN,
    )
    amp_dtype: str = flag(
        "float16",
        "half-precision type",
        group=DEVICE,
        choices=("float16", "bfloat16"),
        on_resume=OnResume.IF_GIVEN,
    )
    scale_loss: float = flag(
        65536.0,
        "with --amp_dtype float16: the first factor by which the loss is scaled",
        group=DEVICE,
        exclusive_minimum=0,
        on_resume=OnResume.FREE,  # a checkpoint has the present one
    )
    recompute: bool = flag(
        False,
        "activation checkpointing: store only each encoder layer's input and recompute the layer "
        "in the backward pass: less memory, more time",
        group=DEVICE,
        on_resume=OnResume.FREE,  # the same masks and results
        part=PADDLENLP_LAYERS,
    )
    to_static: bool = flag(
        False,
        "run the model as a static graph; not with --recompute",
        group=DEVICE,
        on_resume=OnResume.COMPUTE_MODE,
        part=PADDLENLP_LAYERS,
    )
    flash_attention: bool = flag(
        False,
        "use Paddle's fused attention kernels (flash attention on GPUs in half precision)",
        group=DEVICE,
        on_resume=OnResume.COMPUTE_MODE,
        part=PADDLENLP_LAYERS,
    )
    fused_adamw: bool = flag(
        False,
        "on GPUs, update many parameters in one AdamW kernel",
        group=DEVICE,
        on_resume=OnResume.COMPUTE_MODE,
    )

    # Names of the flags set on the command line or in the --config file.
    explicit_flags: tuple[str, ...] = ()
    command_line_flags: tuple[str, ...] = ()  # those on the command line
    config_path: str | None = None  # the --config file
    notes: tuple[str, ...] = ()  # to be said about flags of other programs
    peer_flags: ClassVar[tuple[PeerFlag, ...]] = peer_flags.TRAINING

    def problems(self) -> Iterator[str]:
        """A message for each flag that contradicts another one or names an unusable path."""
        supported = type(self).__dataclass_fields__["model_type"].default
        if self.model_type != supported:
            yield (
                f"--model_type must be {supported}, not {self.model_type!r}: no other model is "
                "supported"
            )
        if self.warmup_steps and self.warmup_ratio:
            yield "--warmup_steps and --warmup_ratio are both set: give one of them"
        if self.vocab_file and not Path(self.vocab_file).is_file():
            yield f"--vocab_file {self.vocab_file}: no such file"
        if not re.fullmatch(r"auto|cpu|[a-z_]+(:\d+)?", self.device):
            yield f"--device {self.device}: give auto, cpu, gpu, gpu:1, xpu, npu, ..."
        elif self.device.startswith("cuda"):
            yield f"--device {self.device}: Paddle calls it {self.device.replace('cuda', 'gpu')}"
        elif self.device not in ("auto", "cpu") and self.n_gpu == 0:
            yield f"--device {self.device} and --n_gpu 0 contradict each other"
        elif self.n_gpu > 1 and (":" in self.device or self.device not in ("auto", "cpu", "gpu")):
            yield (
                f"--device {self.device} is one device, and --n_gpu {self.n_gpu} needs as many "
                "(other devices: paddle.distributed.launch)"
            )
        if self.tokenizer_name_or_path and self.vocab_file:
            yield "--tokenizer_name_or_path and --vocab_file are both set: give one of them"
        if (
            self.asks_for_evaluations()
            and "do_eval" in self.explicit_flags
            and not vars(self)["do_eval"]
        ):
            flag = "--eval_strategy" if self.eval_strategy else "--eval_steps"
            yield f"{flag} and --do_eval 0 contradict each other"
        if self.eval_steps > 0 and self.eval_strategy in ("epoch", "no"):
            yield f"--eval_steps and --eval_strategy {self.eval_strategy} contradict each other"
        for name in ("load_best_model_at_end", "early_stopping_patience"):
            if self.eval_strategy == "no" and getattr(self, name) and name in self.explicit_flags:
                yield f"--{name} needs evaluations: --eval_strategy no turns them off"
        if self.recompute and self.to_static:
            yield "--recompute and --to_static cannot be combined: give one of them"
        if self.fused_adamw and self.optimizer != "adamw":
            yield f"--fused_adamw is for --optimizer adamw, not {self.optimizer}"
        if (
            self.output_dir
            and Path(self.output_dir).exists()
            and not Path(self.output_dir).is_dir()
        ):
            yield f"--output_dir {self.output_dir} is a file: give a folder"
        if self.visualdl_dir and Path(self.visualdl_dir).is_file():
            yield f"--visualdl_dir {self.visualdl_dir} is a file: give a folder"
        resume = self.resume_from_checkpoint
        if resume and resume != "auto" and not Path(resume).is_dir():
            yield f"--resume_from_checkpoint {resume}: no such folder (or give auto)"
        if resume and self.overwrite_output_dir:
            yield "--resume_from_checkpoint and --overwrite_output_dir contradict each other"

    def evaluates_apart(self) -> bool:
        """Whether evaluations have steps of their own: else each save has one."""
        return self.eval_strategy is not None or self.eval_steps > 0

    def asks_for_evaluations(self) -> bool:
        """Whether an --eval_... flag asks for evaluations during training."""
        return self.evaluates_apart() and self.eval_strategy != "no"

    def needs_problems(self, actions: Mapping[str, bool]) -> Iterator[str]:
        """A message for each flag that is set, but needs what the run does not do. actions: whether
        it does what `needs` names; what is not in it, the run always does."""
        for field in declared_flags(type(self)):
            needs = [need for need in field.metadata["needs"] if need in actions]
            if getattr(self, field.name) != field.default and not all(map(actions.get, needs)):
                text = "both training and evaluation" if len(needs) > 1 else needs[0]
                yield f"--{field.name} needs {text}"

    def inputs(self) -> list[Input]:
        """The files and folders that a run with these flags reads, besides models."""
        return [*self._paths(PathUse.INPUT), *self._paths(PathUse.TOKENIZER)]

    def models(self) -> list[Input]:
        """The model folders that a run with these flags reads."""
        return self._paths(PathUse.MODEL)

    def _paths(self, use: PathUse) -> list[Input]:
        names = flag_names(type(self), path=use)
        return [(f"--{name}", getattr(self, name)) for name in names]

    def finalize(self) -> None:
        """Give published models their names here: bert-base-cased for google-bert/bert-base-cased,
        unless there is such a folder."""
        for field in declared_flags(type(self)):
            value = getattr(self, field.name)
            if field.metadata["path"] in (PathUse.MODEL, PathUse.TOKENIZER) and value:
                if value.startswith(_PUBLISHER) and not Path(value).exists():
                    setattr(self, field.name, value.removeprefix(_PUBLISHER))

    def as_dict(self) -> dict[str, object]:
        """All flags' values by name, as run.json and the training state store them."""
        return {field.name: getattr(self, field.name) for field in declared_flags(type(self))}
