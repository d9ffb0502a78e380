"""Make a demo set of invented film reviews in SST-2's format, for use without GLUE data.

    python scripts/make_demo_data.py FOLDER [--seed 42]

writes train.tsv (1,600 rows), dev.tsv (400), test.tsv (100, no labels) and DEMO, the file by which
run_glue.py recognizes the set and marks its results. The same seed gives the same bytes. Results
show that the program works; they are not comparable with SST-2.

A sentence is a template filled with words. The template determines the label, so that "the plot is
dull , but ..." is positive although it has a negative word. Some words and templates are held out
of the training file; half of the dev and test rows use them.
"""

import argparse
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

ROWS = {"train": 1600, "dev": 400, "test": 100}

# Slots: {film} and {part} are nouns, {good} and {bad} adjectives, {very} is an intensifier.
# Templates are for label 1; for label 0, {good} and {bad} are exchanged.
PLAIN = (
    "{a} {very} {good} {film} with {a2} {good2} {part} .",
    "the {part} is {very} {good} and the {part2} is {good2} .",
    "{good} from the first scene to the last , this {film} is {very} {good2} .",
    "what {a} {good} {film} !",
    "i found the {part} {very} {good} .",
    "a {film} as {good} as its {part} .",
    "{very} {good} , {good2} and well worth talking about afterwards .",
    "the {part} makes this {film} {very} {good} .",
    "seldom has {a} {film} been so {good} .",
    "it is the {part} that makes the whole thing so {good} .",
)
NEGATED = (
    "there is nothing {bad} about this {film} .",
    "the {part} is not {bad} at all .",
    "this {film} is anything but {bad} .",
    "you could hardly call the {part} {bad} .",
    "the {film} is never {bad} , not even for a moment .",
    "far from {bad} , the {part} holds your attention in the right way .",
    "nobody could say that this {film} is {bad} or {bad2} .",
    "i expected something {bad} and was wrong .",
)
CONTRAST = (
    "the {part} is {bad} , but the {film} as a whole is {very} {good} .",
    "although the {part} is {bad} , this remains {a} {good} {film} .",
    "the {part} may be {bad} , yet the {film} is {good} where it counts .",
    "{bad} in places , {very} {good} in the end .",
    "despite {a} {bad} {part} , the {film} turns out {good} .",
    "critics called it {bad} ; it is in fact {very} {good} .",
    "for all its {bad} {part} , the {film} leaves {a2} {good} impression .",
    "where the trailer was {bad} , the {film} is {good} .",
)

FILM = "film movie comedy thriller drama sequel documentary romance western debut".split()
PART = (
    "plot,acting,script,camera work,music,dialogue,ending,pacing,story,cast,direction,editing,"
    "humour,set design,lead performance,soundtrack,first act,love story"
).split(",")
GOOD = (
    "charming,moving,clever,funny,gripping,delightful,brilliant,touching,original,elegant,warm,"
    "witty,thrilling,beautiful,honest,fresh,superb,engaging,tender,inventive,excellent,lively,"
    "memorable,wonderful,sharp,graceful,heartfelt,impressive,captivating,splendid"
).split(",")
BAD = (
    "dull,tedious,clumsy,boring,lifeless,shallow,predictable,awful,stale,messy,cold,silly,painful,"
    "ugly,hollow,tired,dreadful,lazy,confused,pretentious,terrible,bland,forgettable,annoying,"
    "flat,pointless,wooden,sloppy,unbearable,feeble"
).split(",")
VERY = "very,truly,quite,deeply,remarkably,thoroughly,utterly,rather,surprisingly".split(",")

HELD_OUT_WORDS = 5  # every fifth word of a list is held out of the training file
HELD_OUT_TEMPLATES = 4  # and every fourth template


def _split(items: Sequence[str], every: int) -> tuple[list[str], list[str]]:
    """Return (training items, held-out items): every `every`-th item is held out."""
    return (
        [item for i, item in enumerate(items) if i % every != every - 1],
        [item for i, item in enumerate(items) if i % every == every - 1],
    )


class Writer:
    """Generates labelled sentences; training sentences have no held-out word or template."""

    def __init__(self, seed: int):
        self.rng = random.Random(seed)
        self.words = {
            name: _split(words, HELD_OUT_WORDS)
            for name, words in (("film", FILM), ("part", PART), ("good", GOOD), ("bad", BAD))
        }
        # Two sentences in five are plain; the others cannot be classified by counting words.
        template_groups = [(PLAIN, 2), (NEGATED, 1), (CONTRAST, 2)]
        self.templates = [
            (_split(group, HELD_OUT_TEMPLATES), weight) for group, weight in template_groups
        ]
        self.written: set[str] = set()

    def rows(self, count: int, held_out: bool) -> list[tuple[str, int]]:
        """`count` new sentences with balanced labels, in random order.

        held_out: half of them have held-out words, and half held-out templates.
        """
        rows: list[tuple[str, int]] = []
        while len(rows) < count:
            label = len(rows) % 2
            new_words = held_out and len(rows) % 4 < 2
            new_template = held_out and len(rows) % 8 in (0, 1, 4, 5)
            sentence = self._sentence(label, new_words, new_template)
            if normalised(sentence) not in self.written:
                self.written.add(normalised(sentence))
                rows.append((sentence, label))
        self.rng.shuffle(rows)
        return rows

    def _sentence(self, label: int, new_words: bool, new_template: bool) -> str:
        groups = [group for group, weight in self.templates for _ in range(weight)]
        template = self.rng.choice(self.rng.choice(groups)[new_template])
        good, bad = ("good", "bad") if label else ("bad", "good")
        values = {"very": self.rng.choice(VERY)}
        for slot, words in (("film", "film"), ("part", "part"), ("good", good), ("bad", bad)):
            training_words, held_out = self.words[words]
            values[slot], values[slot + "2"] = self.rng.sample(training_words, 2)
            if new_words:
                values[slot] = self.rng.choice(held_out)
        return _with_articles(template, values)


def _with_articles(template: str, values: dict[str, str]) -> str:
    """Fill the template; {a} and {a2} become "a" or "an" by the next word."""
    filled = template.format(a="{a}", a2="{a}", **values).split()
    for i, word in enumerate(filled):
        if word == "{a}":
            filled[i] = "an" if filled[i + 1][0] in "aeiou" else "a"
    return " ".join(filled)


def normalised(sentence: str) -> str:
    """The sentence without case, punctuation and spacing: equal ones are duplicates."""
    return " ".join("".join(c if c.isalnum() else " " for c in sentence.lower()).split())


def make(folder: Path, seed: int) -> None:
    """Write the four files into `folder`, each atomically; DEMO first, so that no data exists
    without it. Raises FileExistsError for a folder with a train.tsv but no DEMO."""
    if (folder / "train.tsv").exists() and not (folder / "DEMO").exists():
        raise FileExistsError(f"{folder} has data that is no demo set: give another folder")
    writer = Writer(seed)
    train, dev, test = (
        writer.rows(count, held_out=split != "train") for split, count in ROWS.items()
    )
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "DEMO", _about(seed))
    for name, rows in (("train.tsv", train), ("dev.tsv", dev)):
        lines = ["sentence\tlabel", *(f"{sentence}\t{label}" for sentence, label in rows)]
        _write(folder / name, "\n".join(lines) + "\n")
    lines = ["index\tsentence", *(f"{i}\t{sentence}" for i, (sentence, _) in enumerate(test))]
    _write(folder / "test.tsv", "\n".join(lines) + "\n")


def _about(seed: int) -> str:
    return (
        "These sentences are invented: scripts/make_demo_data.py made them from templates, with\n"
        f"the seed {seed}, in the format of SST-2 (1: positive, 0: negative). Because this file\n"
        'is here, run_glue.py labels results got with them "demo": they are no SST-2 results.\n'
    )


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + f".{os.getpid()}")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    temporary.replace(path)


def main() -> None:
    """Parse the command line and write the files; on an error, print one line and exit with 2."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="output folder; created if missing")
    parser.add_argument("--seed", type=int, default=42, help="random seed (default 42)")
    args = parser.parse_args()
    try:
        make(args.folder, args.seed)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
