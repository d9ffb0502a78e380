"""The flags for the sizes of a model, which the programs that start from random weights share."""

import dataclasses

from bert_paddle.common.flag_fields import flag, flag_names
from bert_paddle.common.flag_groups import MODEL

SIZE = "a key of the model configuration"
_HEAD_SIZE = 64  # hidden_size / num_attention_heads of all published BERT and GPT-2 models


def size_flag(help: str) -> int:
    """A flag for a key of the model configuration of the same name."""
    return flag(
        -1,
        f"{help} (-1: from the configuration)",
        group=MODEL,
        minimum=1,
        maximum=10**7,
        sentinel=-1,
        part=SIZE,
    )


@dataclasses.dataclass
class SizeArgs:
    """The sizes that a configuration may be changed to. Users' scripts rely on names."""

    hidden_size: int = size_flag("width of the layers")
    num_hidden_layers: int = size_flag("number of layers")
    num_attention_heads: int = size_flag(
        "attention heads; default with --hidden_size: hidden_size / 64"
    )
    intermediate_size: int = size_flag(
        "feed-forward width; default with --hidden_size: 4 x hidden_size"
    )
    max_position_embeddings: int = size_flag("maximum sequence length")

    def given_sizes(self) -> dict[str, int]:
        """The sizes given as flags by their keys; --hidden_size also sets the number of heads and
        the feed-forward width unless these are given."""
        names = flag_names(type(self), part=SIZE)
        sizes = {name: getattr(self, name) for name in names if getattr(self, name) > 0}
        if "hidden_size" in sizes:
            sizes.setdefault("intermediate_size", 4 * sizes["hidden_size"])
            sizes.setdefault("num_attention_heads", max(1, sizes["hidden_size"] // _HEAD_SIZE))
        return sizes
