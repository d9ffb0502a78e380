"""The flags shared by both programs, and the checks across them."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from bert_paddle.common.flags import REQUIRED, flag, optional_switch

# Headings in --help.
MODEL, TRAIN, SCHEDULE, EVALUATION, SAVING, DEVICE = (
    "model",
    "training",
    "learning-rate schedule",
    "evaluation and prediction",
    "saving, logging and resuming",
    "device",
)


@dataclasses.dataclass
class CommonArgs:
    """Flags of both `run_glue.py` and `run_pretrain.py`. Users' scripts rely on their names and
    defaults."""

    model_type: str = flag("bert", "architecture; only bert", group=MODEL)
    model_name_or_path: str = flag(
        REQUIRED,
        "a folder with a Paddle or Hugging Face BERT, or a name looked up in "
        "$BERT_PADDLE_HOME/models, then on PaddleNLP's hub",
        group=MODEL,
    )
    vocab_file: str | None = flag(
        None, "vocabulary file, one word piece per line, instead of the model's own", group=MODEL
    )
    do_lower_case: bool | None = optional_switch(
        "whether the model reads lower-cased text; default: as its files say, else as its "
        "vocabulary suggests",
        group=MODEL,
    )

    batch_size: int = flag(
        8,
        "batch size per GPU (on the CPU: per process)",
        group=TRAIN,
        alias="per_device_train_batch_size",
        minimum=1,
        maximum=10**6,
    )
    gradient_accumulation_steps: int = flag(
        1, "batches accumulated into one optimizer step", group=TRAIN, minimum=1, maximum=10**6
    )
    num_train_epochs: float = flag(
        3.0,
        "passes over the training data, such as 3, 0.5 or 1e5; a resume with another batch size "
        "keeps them",
        group=TRAIN,
        exclusive_minimum=0,
        maximum=1e9,
    )
    max_steps: int = flag(
        -1,
        "stop after this many optimizer steps (-1: set by --num_train_epochs)",
        group=TRAIN,
        minimum=1,
        maximum=10**12,
        sentinel=-1,
    )
    optimizer: str = flag(
        "adamw",
        "optimizer; lamb applies its trust ratio only to decayed weights: set --weight_decay too",
        group=TRAIN,
        choices=("adamw", "lamb"),
    )
    weight_decay: float = flag(
        0.0, "decoupled weight decay, not applied to biases and LayerNorm", group=TRAIN, minimum=0
    )
    adam_epsilon: float = flag(1e-8, "epsilon of Adam and LAMB", group=TRAIN, exclusive_minimum=0)
    max_grad_norm: float = flag(
        1.0, "clip the global gradient norm to this (0: no clipping)", group=TRAIN, minimum=0
    )
    seed: int = flag(
        42,
        "random seed for data order, dropout and weight initialization",
        group=TRAIN,
        minimum=0,
        maximum=2**31 - 1,
    )
    num_workers: int = flag(
        0, "threads that prefetch batches (0: none)", group=TRAIN, minimum=0, maximum=64
    )

    learning_rate: float = flag(5e-5, "peak learning rate", group=SCHEDULE, exclusive_minimum=0)
    lr_scheduler_type: str = flag(
        "linear",
        "after warm-up: linear decay to 0, poly (decay to 0 with power 0.5) or constant",
        group=SCHEDULE,
        choices=("linear", "poly", "constant"),
    )
    warmup_steps: int = flag(0, "steps of linear warm-up", group=SCHEDULE, minimum=0)
    warmup_ratio: float = flag(
        0.0,
        "warm-up as a fraction of all steps, used when --warmup_steps is 0",
        group=SCHEDULE,
        minimum=0,
        maximum=1,
    )

    eval_batch_size: int = flag(
        32,
        "batch size per GPU or CPU process in evaluation and prediction",
        group=EVALUATION,
        alias="per_device_eval_batch_size",
        minimum=1,
        maximum=10**6,
    )
    load_best_model_at_end: bool = flag(
        False, "after training, load the best checkpoint instead of the last", group=EVALUATION
    )
    early_stopping_patience: int = flag(
        -1,
        "stop after this many evaluations without improvement (-1: never)",
        group=EVALUATION,
        minimum=1,
        sentinel=-1,
    )

    output_dir: str = flag(REQUIRED, "folder for checkpoints and results", group=SAVING)
    overwrite_output_dir: bool = flag(
        False, "delete the run in the output folder and start over", group=SAVING
    )
    resume_from_checkpoint: str | None = flag(
        None,
        "auto: resume from the newest complete checkpoint in the output folder (start from "
        "scratch if there is none); or the path of a checkpoint",
        group=SAVING,
    )
    logging_steps: int = flag(
        500, "steps between log lines", group=SAVING, minimum=1, maximum=10**12
    )
    save_strategy: str = flag(
        "steps",
        "when to evaluate and save a checkpoint: every --save_steps steps, or after each epoch",
        group=SAVING,
        choices=("steps", "epoch"),
    )
    save_steps: int = flag(
        500,
        "steps between checkpoints, with --save_strategy steps",
        group=SAVING,
        minimum=1,
        maximum=10**12,
    )
    save_total_limit: int = flag(
        -1,
        "keep this many of the newest checkpoints, and the best one (-1: keep all)",
        group=SAVING,
        minimum=1,
        sentinel=-1,
    )
    report: bool = flag(
        True, "write report.html and pictures/ into the output folder at the end", group=SAVING
    )
    visualdl_dir: str | None = flag(
        None,
        "also log the metrics for VisualDL into this folder; use a separate folder for each run",
        group=SAVING,
    )
    profile: int = flag(
        0,
        "number of steps to profile, starting with the third (0: none); writes a table and a "
        "trace to profile/",
        group=SAVING,
        minimum=0,
        maximum=1000,
    )
    debug: bool = flag(False, "show the traceback of every error", group=SAVING)

    n_gpu: int = flag(
        1,
        "0: the CPU; N: N processes with one GPU each, or on the CPU if there is no GPU",
        group=DEVICE,
        minimum=0,
        maximum=64,
    )
    device: str = flag(
        "auto", "auto: GPUs if available", group=DEVICE, choices=("auto", "cpu", "gpu")
    )
    cpu_kernels: bool = flag(
        True,
        "on the CPU, run the encoder with this package's C kernels, compiled at first use; with 0, "
        "or without a C compiler, with PaddleNLP's layers: slower, equal results up to rounding "
        "but for other dropout masks (a resumed run must keep it)",
        group=DEVICE,
    )
    use_amp: bool = flag(False, "automatic mixed precision (on GPUs)", group=DEVICE)
    amp_level: str = flag(
        "O1",
        "O1: selected operations in half precision, O2: the whole model",
        group=DEVICE,
        choices=("O1", "O2"),
    )
    amp_dtype: str = flag(
        "float16", "half-precision type", group=DEVICE, choices=("float16", "bfloat16")
    )
    recompute: bool = flag(
        False,
        "activation checkpointing: store only each encoder layer's input and recompute the layer "
        "in the backward pass: less memory, more time",
        group=DEVICE,
    )
    to_static: bool = flag(
        False, "run the model as a static graph; not with --recompute", group=DEVICE
    )
    flash_attention: bool = flag(
        False,
        "use Paddle's fused attention kernels (flash attention on GPUs in half precision)",
        group=DEVICE,
    )
    fused_adamw: bool = flag(
        False, "on GPUs, update many parameters in one AdamW kernel", group=DEVICE
    )

    # Names of the flags set on the command line or in the --config file.
    explicit_flags: tuple[str, ...] = ()
    config_path: str | None = None  # the --config file

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
        if self.device == "gpu" and self.n_gpu == 0:
            yield "--device gpu and --n_gpu 0 contradict each other"
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

    def as_dict(self) -> dict[str, object]:
        """All flags' values by name, as run.json and the training state store them."""
        values = dataclasses.asdict(self)
        del values["explicit_flags"], values["config_path"]
        return values
