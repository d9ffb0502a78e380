"""Texts of every kind of character, the same in every process, for comparing tokenizers."""

import random

# The first and last characters of ranges.
_RANGES = (
    (0x20, 0x7E),  # ASCII
    (0x00, 0x1F),  # control characters
    (0xA0, 0x24F),  # Latin with accents, the no-break blank
    (0x370, 0x4FF),  # Greek, Cyrillic
    (0x5D0, 0x5EA),  # Hebrew
    (0x2000, 0x206F),  # blanks and marks of direction
    (0x3040, 0x30FF),  # kana
    (0x4E00, 0x9FFF),  # Chinese characters
    (0x1F300, 0x1FAFF),  # emoji
    (0xFE00, 0xFE0F),  # variation selectors
)
_PARTS = (
    "I've we'll they're he'd it's don't I'm 'S 'T ''s",
    "  two blanks   three",
    "\n\n\n",
    " \t \r\n",
    "1234567890 3.14 1,000,000 v2.0",
    "http://example.org/a?b=c#d",
    "👩‍👩‍👧‍👦 🇩🇪 👍🏽",
    "中文，日本語、한국어。",
    "e\u0301 \u00e9 \u212b \ufb01",
    "\u200b\u2060\ufeff\u00ad",
    "#version: 0.2",
    "<|endoftext",
    "_under_score__ --dash-- ...",
)


def texts(count: int, seed: int = 0) -> list[str]:
    """`count` texts of words, ranges of characters and difficult parts."""
    rng = random.Random(seed)
    return [_text(rng) for _ in range(count)]


def _text(rng: random.Random) -> str:
    parts = []
    for _ in range(rng.randint(1, 6)):
        kind = rng.randint(0, 2)
        if kind == 0:
            parts.append(rng.choice(_PARTS))
        elif kind == 1:
            first, last = rng.choice(_RANGES)
            parts.append("".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 12))))
        else:
            letters = "etaoinshrdlu"
            word = "".join(rng.choice(letters) for _ in range(rng.randint(1, 9)))
            parts.append(word if rng.random() < 0.7 else word.capitalize())
    return rng.choice(("", " ", "\n")).join(parts)
