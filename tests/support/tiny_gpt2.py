"""A GPT-2 that trains in seconds: its tokenizer, trained on the fly, and invented texts."""

import random
from pathlib import Path

REFERENCE = Path(__file__).parents[1] / "reference"
HF_DIR = REFERENCE / "tiny_gpt2"  # written by transformers: see reference/gpt2.py
_SUBJECTS = ("The old baker", "A quiet clerk", "Her brother", "The young pilot", "Our neighbour")
_VERBS = ("was born in", "moved to", "worked in", "wrote about", "dreamed of")
_PLACES = ("a small town", "the city", "the north", "a village by the sea", "Ghent")


def sentences(count: int, seed: int = 0) -> list[str]:
    """Invented texts of one to three sentences."""
    rng = random.Random(seed)
    return [
        " ".join(
            f"{rng.choice(_SUBJECTS)} {rng.choice(_VERBS)} {rng.choice(_PLACES)}."
            for _ in range(rng.randint(1, 3))
        )
        for _ in range(count)
    ]
