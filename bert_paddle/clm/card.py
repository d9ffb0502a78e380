"""The model card of a fine-tuned GPT-2."""

from collections.abc import Mapping
from typing import Any

from bert_paddle.clm.args import ClmArgs
from bert_paddle.training import model_card
from bert_paddle.training.model_card import CardFacts
from bert_paddle.training.train_state import TrainState


def card_facts(
    args: ClmArgs,
    rows: Mapping[str, int],
    max_length: int,
    values: Mapping[str, Any] | None,
    state: TrainState,
) -> CardFacts:
    """The content of the model card of a checkpoint. rows: number of texts of "train" and "dev".
    values: the evaluation of these weights; None if they were not evaluated."""
    settings: dict[str, Any] = {"max sequence length": max_length}
    if args.packing:
        across = " that attend to each other" if args.packing_across_texts else ""
        settings["rows"] = f"packed, of several texts{across}"
    return CardFacts(
        task="Text generation",
        kind="generation",
        step=state.step,
        base="" if args.random_weights else args.model_name_or_path,
        results=dict(values or {}),
        rows=rows,
        settings=model_card.training_settings(args, state) | settings,
    )
