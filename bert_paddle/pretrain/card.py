"""The model card of a pre-trained model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bert_paddle.pretrain.args import PretrainArgs
from bert_paddle.training import model_card
from bert_paddle.training.model_card import CardFacts
from bert_paddle.training.train_state import TrainState

_RESULTS = ("loss", "mlm_loss", "mlm_accuracy", "perplexity", "nsp_loss", "nsp_accuracy")


def card_facts(
    args: PretrainArgs, rows: Mapping[str, int], values: Mapping[str, Any] | None, state: TrainState
) -> CardFacts:
    """The content of the model card of a checkpoint. rows: row count of "train" and "dev". values:
    results of these weights, as in all_results.json; None if they were not evaluated."""
    settings = {
        "configuration": Path(args.model_name_or_path).name,
        "predictions per row": f"up to {args.max_predictions_per_seq}",
    }
    if args.dynamic_masking:
        words = "whole words" if args.whole_word_mask else "word pieces"
        settings["masks"] = (
            f"drawn anew in each epoch, {args.mlm_probability:g} of the tokens, {words}"
        )
    return CardFacts(
        task="Masked words and next sentences" if args.nsp else "Masked words",
        kind="pretraining",
        next_sentences=args.nsp,
        step=state.step,
        base=args.init_from or "",
        pairs=True,
        results={n: values[f"eval_{n}"] for n in _RESULTS if values and f"eval_{n}" in values},
        rows=rows,
        settings=model_card.training_settings(args, state) | settings,
    )
