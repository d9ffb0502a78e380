"""The flags that the programs for fine-tuning share, `run_glue.py` and `run_clm.py`."""

import dataclasses

from bert_paddle.common.flag_fields import OnRanks, OnResume, Results, flag
from bert_paddle.common.flag_groups import EVALUATION, TRAIN

ACTION = "what the run does"  # given one, only those given are done


@dataclasses.dataclass
class FinetuneArgs:
    """How rows are batched, and what the run does. Users' scripts rely on names and defaults."""

    group_by_length: bool = flag(
        False,
        "batch rows of similar length, to save padding; no gain with the CPU kernels for BERT, "
        "which skip padding (what grouping costs: docs/SPEED.md)",
        group=TRAIN,
        on_ranks=OnRanks.SAME_LATER,
    )
    do_train: bool = flag(
        False,
        "train (with no --do_... flag: train and evaluate)",
        group=EVALUATION,
        part=ACTION,
    )
    do_eval: bool = flag(
        False,
        "evaluate on the dev set(s), or on the rows held out as one",
        group=EVALUATION,
        on_resume=OnResume.FREE,
        results=Results.ADDED,
        part=ACTION,
    )
