"""The flags for model, optimizer and learning-rate schedule that all training programs share."""

import dataclasses

from bert_paddle.common.digest_names import CONFIGURATION, INITIAL_MODEL
from bert_paddle.common.flag_fields import (
    REQUIRED,
    OnRanks,
    OnResume,
    PathUse,
    Results,
    flag,
    optional_switch,
)
from bert_paddle.common.flag_groups import MODEL, SCHEDULE, TRAIN


@dataclasses.dataclass
class TrainArgs:
    """What is trained, and how. Users' scripts rely on names and defaults."""

    model_type: str = flag("bert", "architecture; only bert", group=MODEL)
    model_name_or_path: str = flag(
        REQUIRED,
        "a folder with a Paddle or Hugging Face model, or a name looked up in "
        "$BERT_PADDLE_HOME/models, then on the hub",
        group=MODEL,
        path=PathUse.MODEL,
        recognized_by=(INITIAL_MODEL, CONFIGURATION),
        on_ranks=OnRanks.FREE,
    )
    vocab_file: str | None = flag(
        None,
        "vocabulary file, one word piece per line, instead of the model's own",
        group=MODEL,
        path=PathUse.INPUT,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.FREE,
    )
    tokenizer_name_or_path: str | None = flag(
        None,
        "use the tokenizer of this model folder, vocabulary file or name, not the model's own",
        group=MODEL,
        alias="tokenizer_name",
        path=PathUse.TOKENIZER,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.FREE,
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
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.SAME_LATER,
    )
    gradient_accumulation_steps: int = flag(
        1,
        "batches accumulated into one optimizer step",
        group=TRAIN,
        minimum=1,
        maximum=10**6,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.SAME_LATER,
    )
    num_train_epochs: float = flag(
        3.0,
        "passes over the training data, such as 3, 0.5 or 1e5; a resume with another batch size "
        "keeps them",
        group=TRAIN,
        exclusive_minimum=0,
        maximum=1e9,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.SAME_LATER,
    )
    max_steps: int = flag(
        -1,
        "stop after this many optimizer steps (-1: set by --num_train_epochs)",
        group=TRAIN,
        minimum=1,
        maximum=10**12,
        sentinel=-1,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.SAME_LATER,
    )
    optimizer: str = flag(
        "adamw",
        "optimizer; lamb applies its trust ratio only to decayed weights: set --weight_decay too",
        group=TRAIN,
        choices=("adamw", "lamb"),
        on_ranks=OnRanks.SAME_LATER,
    )
    weight_decay: float = flag(
        0.0,
        "decoupled weight decay, not applied to biases and LayerNorm",
        group=TRAIN,
        minimum=0,
        on_ranks=OnRanks.SAME_LATER,
    )
    adam_epsilon: float = flag(
        1e-8,
        "epsilon of Adam and LAMB, in float32: below 1.2e-38 it would be 0",
        group=TRAIN,
        minimum=1.2e-38,
        on_ranks=OnRanks.SAME_LATER,
    )
    adam_beta1: float = flag(
        0.9,
        "decay of the first moment of Adam and LAMB",
        group=TRAIN,
        minimum=0,
        maximum=0.9999999,
        on_ranks=OnRanks.SAME_LATER,
        card_name="Adam beta1",
    )
    adam_beta2: float = flag(
        0.999,
        "decay of the second moment of Adam and LAMB",
        group=TRAIN,
        minimum=0,
        maximum=0.9999999,
        on_ranks=OnRanks.SAME_LATER,
        card_name="Adam beta2",
    )
    max_grad_norm: float = flag(
        1.0,
        "clip the global gradient norm to this (0: no clipping)",
        group=TRAIN,
        minimum=0,
        on_ranks=OnRanks.SAME_LATER,
    )
    seed: int = flag(
        42,
        "random seed for data order, dropout and weight initialization",
        group=TRAIN,
        minimum=0,
        maximum=2**31 - 1,
        set_by_sweep=True,
    )
    num_workers: int = flag(
        0,
        "threads that prefetch batches (0: none)",
        group=TRAIN,
        minimum=0,
        maximum=64,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.FREE,
        results=Results.SAME,
    )

    learning_rate: float = flag(
        5e-5,
        "peak learning rate",
        group=SCHEDULE,
        exclusive_minimum=0,
        on_resume=OnResume.IF_GIVEN,  # a way out of a loss that is not finite
        on_ranks=OnRanks.SAME_LATER,
    )
    lr_scheduler_type: str = flag(
        "linear",
        "after warm-up: linear or cosine decay to 0, poly (decay to 0 with power 0.5) or constant, "
        "also called constant_with_warmup",
        group=SCHEDULE,
        choices=("linear", "cosine", "poly", "constant", "constant_with_warmup"),
        on_ranks=OnRanks.SAME_LATER,
    )
    warmup_steps: float = flag(
        0,
        "steps of linear warm-up; below 1 a share of all steps",
        group=SCHEDULE,
        minimum=0,
        share_below_1=True,
        on_ranks=OnRanks.SAME_LATER,
    )
    warmup_ratio: float = flag(
        0.0,
        "warm-up as a fraction of all steps, used when --warmup_steps is 0",
        group=SCHEDULE,
        minimum=0,
        maximum=1,
        on_ranks=OnRanks.SAME_LATER,
    )
