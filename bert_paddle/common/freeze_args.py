"""The flags that exclude parameters from training: a mixin for the fine-tuning programs."""

import dataclasses

from bert_paddle.common.flag_fields import TRAINING, OnRanks, flag
from bert_paddle.common.flag_groups import TRAIN


@dataclasses.dataclass
class FreezeArgs:
    """Which parameters keep their values; see `models.freezing`."""

    freeze_layers: int = flag(
        0,
        "do not train the first N layers (and see --freeze_embeddings)",
        group=TRAIN,
        minimum=0,
        on_ranks=OnRanks.SAME_LATER,
        needs=(TRAINING,),
        card_name="frozen layers",
    )
    freeze_embeddings: bool = flag(
        False,
        "do not train the embeddings: words (in GPT-2 the output layer, too), positions, segments",
        group=TRAIN,
        on_ranks=OnRanks.SAME_LATER,
        needs=(TRAINING,),
        card_name="frozen embeddings",
    )
