"""The flags that both programs share, and the checks between them."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from bert_paddle.common.flags import REQUIRED, flag

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
    """Flags of `run_glue.py` and `run_pretrain.py` alike; names and defaults are a contract."""

    model_type: str = flag("bert", "architecture; only bert", group=MODEL)
    model_name_or_path: str = flag(
        REQUIRED,
        "a folder with a Paddle or Hugging Face BERT, or a name looked up in "
        "$BERT_PADDLE_HOME/models and then on PaddleNLP's hub",
        group=MODEL,
    )
    vocab_file: str | None = flag(
        None, "vocabulary, one word piece a line, in place of the model's own", group=MODEL
    )

    batch_size: int = flag(
        8,
        "rows per card",
        group=TRAIN,
        alias="per_device_train_batch_size",
        least=1,
        most=10**6,
    )
    gradient_accumulation_steps: int = flag(
        1, "batches whose gradients make one update", group=TRAIN, least=1, most=10**6
    )
    num_train_epochs: float = flag(
        3.0, "passes over the data; 3, 0.5 and 1e5 are all fine", group=TRAIN, above=0, most=1e9
    )
    max_steps: int = flag(
        -1,
        "stop after this many updates (-1: as the epochs give)",
        group=TRAIN,
        least=1,
        most=10**12,
        or_is=-1,
    )
    optimizer: str = flag(
        "adamw",
        "optimizer; lamb scales the rate of the weights that decay: give --weight_decay with it",
        group=TRAIN,
        choices=("adamw", "lamb"),
    )
    weight_decay: float = flag(
        0.0, "decoupled decay of all weights but biases and LayerNorm", group=TRAIN, least=0
    )
    adam_epsilon: float = flag(1e-8, "epsilon of Adam and LAMB", group=TRAIN, above=0)
    max_grad_norm: float = flag(
        1.0, "clip the gradients' global norm here (0: do not clip)", group=TRAIN, least=0
    )
    seed: int = flag(
        42,
        "seed of data order, dropout and new weights",
        group=TRAIN,
        least=0,
        most=2**31 - 1,
    )
    num_workers: int = flag(
        0, "threads that prepare batches ahead (0: none)", group=TRAIN, least=0, most=64
    )

    learning_rate: float = flag(5e-5, "peak learning rate", group=SCHEDULE, above=0)
    lr_scheduler_type: str = flag(
        "linear",
        "after the warm-up: linear to 0, poly (degree 0.5, to 0) or constant",
        group=SCHEDULE,
        choices=("linear", "poly", "constant"),
    )
    warmup_steps: int = flag(0, "updates of linear warm-up", group=SCHEDULE, least=0)
    warmup_ratio: float = flag(
        0.0,
        "warm-up as a share of all updates, used when --warmup_steps is 0",
        group=SCHEDULE,
        least=0,
        most=1,
    )

    eval_batch_size: int = flag(
        32,
        "rows per card in evaluation and prediction",
        group=EVALUATION,
        alias="per_device_eval_batch_size",
        least=1,
        most=10**6,
    )
    load_best_model_at_end: bool = flag(
        False, "end with the best checkpoint, not the last", group=EVALUATION
    )
    early_stopping_patience: int = flag(
        -1,
        "stop after this many evaluations without a better one (-1: never)",
        group=EVALUATION,
        least=1,
        or_is=-1,
    )

    output_dir: str = flag(REQUIRED, "folder for checkpoints and results", group=SAVING)
    overwrite_output_dir: bool = flag(
        False, "remove the run that the output folder holds and start anew", group=SAVING
    )
    resume_from_checkpoint: str | None = flag(
        None,
        "auto: go on from the newest whole checkpoint in the output folder (start afresh if "
        "there is none); or the path of one checkpoint",
        group=SAVING,
    )
    logging_steps: int = flag(
        500, "updates between two log lines", group=SAVING, least=1, most=10**12
    )
    save_strategy: str = flag(
        "steps",
        "checkpoints, each with an evaluation: every --save_steps updates, or at each epoch's end",
        group=SAVING,
        choices=("steps", "epoch"),
    )
    save_steps: int = flag(
        500,
        "updates between two checkpoints, with --save_strategy steps",
        group=SAVING,
        least=1,
        most=10**12,
    )
    save_total_limit: int = flag(
        -1,
        "keep only so many of the newest checkpoints, and the best one (-1: keep all)",
        group=SAVING,
        least=1,
        or_is=-1,
    )
    report: bool = flag(
        True, "end with report.html and pictures/ in the output folder", group=SAVING
    )
    visualdl_dir: str | None = flag(
        None, "also write the curves for VisualDL here; a folder for each run", group=SAVING
    )
    profile: int = flag(
        0,
        "updates to profile, from the third on (0: none), into profile/: a table and a trace",
        group=SAVING,
        least=0,
        most=1000,
    )
    debug: bool = flag(False, "show the traceback of every error", group=SAVING)

    n_gpu: int = flag(
        1,
        "0: the CPU; N: N processes with a GPU each, or on the CPU where there is no GPU",
        group=DEVICE,
        least=0,
        most=64,
    )
    device: str = flag(
        "auto", "auto: GPUs where there are any", group=DEVICE, choices=("auto", "cpu", "gpu")
    )
    cpu_kernels: bool = flag(
        True,
        "on the CPU, compute the encoder by our own kernels, compiled at the first use; 0, or no C "
        "compiler: by PaddleNLP's layers, slower, the same up to rounding",
        group=DEVICE,
    )
    use_amp: bool = flag(False, "automatic mixed precision (on GPUs)", group=DEVICE)
    amp_level: str = flag(
        "O1",
        "O1: chosen operations in half precision, O2: the whole model",
        group=DEVICE,
        choices=("O1", "O2"),
    )
    amp_dtype: str = flag(
        "float16", "half-precision type", group=DEVICE, choices=("float16", "bfloat16")
    )
    recompute: bool = flag(
        False,
        "in training, keep each encoder layer's input alone and compute the layer again for its "
        "gradients: less memory, more time",
        group=DEVICE,
    )
    to_static: bool = flag(
        False, "compute the model as a static graph, not with --recompute", group=DEVICE
    )
    flash_attention: bool = flag(
        False,
        "attention by Paddle's fused kernels (flash attention on GPUs in half precision)",
        group=DEVICE,
    )
    fused_adamw: bool = flag(
        False, "on GPUs, AdamW updates many parameters in one kernel", group=DEVICE
    )

    given: tuple[str, ...] = ()

    def problems(self) -> Iterator[str]:
        """What is wrong with the flags taken together, one clause each."""
        if self.model_type != "bert":
            yield f"--model_type must be bert, not {self.model_type!r}: no other architecture is in"
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
        """Flag names and values, for the records of a run."""
        values = dataclasses.asdict(self)
        values.pop("given")
        return values
