"""The flags that treat the layers of the encoder differently: a mixin for `GlueArgs`."""

import dataclasses

from bert_paddle.common.flag_fields import TRAINING, OnRanks, flag
from bert_paddle.common.flag_groups import SCHEDULE, TRAIN
from bert_paddle.common.freeze_args import FreezeArgs


@dataclasses.dataclass
class LayerArgs(FreezeArgs):
    """What makes fine-tuning on few rows more stable (Mosbach et al. 2021, arXiv:2006.04884; Zhang
    et al. 2021, arXiv:2006.05987)."""

    layerwise_lr_decay: float = flag(
        1.0,
        "factor by which each encoder layer's learning rate is below that of the part above it; "
        "pooler and classifier have --learning_rate, the embeddings the lowest (1: all the same)",
        group=SCHEDULE,
        exclusive_minimum=0,
        maximum=1,
        on_ranks=OnRanks.SAME_LATER,
        needs=(TRAINING,),
        card_name="layerwise lr decay",
    )
    reinit_layers: int = flag(
        0,
        "draw the weights of the last N encoder layers and of the pooler anew, by --seed (0: none)",
        group=TRAIN,
        minimum=0,
        on_ranks=OnRanks.SAME_LATER,
        needs=(TRAINING,),
        card_name="layers drawn anew",
    )
