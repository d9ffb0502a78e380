"""Invented English text for trying pre-training: film reviews, with the words of make_demo_data.py.

    python scripts/make_demo_text.py FOLDER [--seed 42] [--documents 120]

writes demo.txt (one sentence per line, a blank line between documents of 8 to 20 sentences) and
DEMO, which describes it. The same seed gives the same bytes.

A document is about one film: its title, people, town and opinion are the same in all sentences, so
that next-sentence prediction can be learned. Positive words occur with positive ones and negative
with negative: a model pre-trained on the text knows similar words when it is fine-tuned on the demo
SST-2, including those of its dev set.
"""

import argparse
import os
import random
import sys
from pathlib import Path

from make_demo_data import BAD, FILM, GOOD, PART, VERY

TEXT_FILE, DESCRIPTION_FILE = "demo.txt", "DEMO"
MIN_SENTENCES, MAX_SENTENCES = 8, 20  # of a document

NAME = (
    "anna,boris,clara,daniel,edith,felix,greta,hugo,irene,jonas,karin,leo,maria,nils,olga,paul,"
    "rosa,simon,tilda,victor,wanda,yusuf,zoe,martha,oscar,selma,bruno,ines,emil,laura"
).split(",")
TOWN = (
    "harbour,village,castle,island,valley,desert,forest,station,market,theatre,prison,hospital,"
    "farm,lighthouse,school,hotel,circus,bakery,library,tower"
).split(",")
THING = (
    "letter,ring,horse,boat,map,piano,clock,bicycle,basket,lamp,painting,key,dog,suitcase,song,"
    "secret,camera,train,mirror,coat"
).split(",")

# {x}, {y}: the two people; {town}, {thing}, {film}: the same in a document; {w}, {w2}, {w3}: words
# of the document's opinion, {not} one of the opposite; {part}, {part2}, {very}: new per sentence.
OPENING = (
    '" the {thing} of the {town} " is the new {film} with {x} and {y} .',
    "last week i saw the {film} about {x} , {y} and the {thing} in the {town} .",
    "this {film} takes {x} and {y} to the {town} , where they look for the {thing} .",
)
STORY = (
    "{x} comes to the {town} with nothing but the {thing} .",
    "{y} finds the {thing} near the {town} and tells {x} about it .",
    "in the {town} , {x} meets {y} for the first time .",
    "{y} does not trust {x} , for the {thing} is gone .",
    "one night {x} leaves the {town} and {y} stays behind .",
    "{x} and {y} talk about the {thing} until the morning .",
    "then somebody steals the {thing} , and {y} thinks it was {x} .",
    "years later {y} returns to the {town} and asks for {x} .",
    "{x} gives the {thing} to {y} , who hides it in the {town} .",
    "everybody in the {town} knows what {x} did with the {thing} .",
)
OPINION = (
    "the {part} is {very} {w} and the {part2} is {w2} .",
    "{x} is {w} , {w2} and {very} {w3} .",
    "i found the {part} {w} , and {y} , too , was {w2} .",
    "with {y} on the screen the {film} gets {very} {w} .",
    "the {part} in the {town} is {w} and {w2} , never {not} .",
    "nobody would call the {part} {not} , for it is {very} {w} .",
    "how {w} the {part} is when {y} speaks !",
    "critics called the {part} {not} ; it is {very} {w} .",
    "when {x} talks about the {thing} , the {film} is {w} and anything but {not} .",
    "the {part} is as {w} as the {part2} , and both are {w2} .",
    "some called {x} {not} , but to me the {part} was {w} and {w2} .",
    "what makes the {film} so {w} is the {part} , {very} {w2} as it is .",
)
CLOSING = (
    "so the {film} of {x} and {y} stays {w} to the end .",
    "in the end {x} has the {thing} , {y} has the {town} , and the {film} is {w} .",
    "of all that was said about the {town} and the {thing} , i remember what was {w} .",
)


def generate_document(rng: random.Random) -> list[str]:
    """The sentences of one document; none repeats."""
    x, y = rng.sample(NAME, 2)
    constant = {"x": x, "y": y, "town": rng.choice(TOWN), "thing": rng.choice(THING)}
    constant["film"] = rng.choice(FILM)
    words, opposites = (GOOD, BAD) if rng.random() < 0.5 else (BAD, GOOD)

    def fill(template: str) -> str:
        w, w2, w3 = rng.sample(words, 3)
        part, part2 = rng.sample(PART, 2)
        variable = {"w": w, "w2": w2, "w3": w3, "not": rng.choice(opposites)}
        return template.format(
            **constant, **variable, part=part, part2=part2, very=rng.choice(VERY)
        )

    count = rng.randint(MIN_SENTENCES, MAX_SENTENCES) - 2
    story = rng.sample(STORY, min(len(STORY), count // 2))
    opinions = rng.sample(OPINION, count - len(story))
    middle = [template for pair in zip(story, opinions, strict=False) for template in pair]
    middle += [*story[len(opinions) :], *opinions[len(story) :]]
    return [fill(template) for template in (rng.choice(OPENING), *middle, rng.choice(CLOSING))]


def write_demo(folder: Path, seed: int, documents: int) -> None:
    """Write the two files into `folder`, DEMO first. Raises FileExistsError for a folder with any
    other file, which would be taken for a part of the demo."""
    existing = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if existing - {TEXT_FILE, DESCRIPTION_FILE} or (existing and DESCRIPTION_FILE not in existing):
        raise FileExistsError(f"{folder} holds other files: give an empty or a new folder")
    rng = random.Random(seed)
    texts = ["".join(line + "\n" for line in generate_document(rng)) for _ in range(documents)]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / DESCRIPTION_FILE, _describe(seed))
    _write(folder / TEXT_FILE, "\n".join(texts))


def _describe(seed: int) -> str:
    return (
        "This text is invented: scripts/make_demo_text.py made it from templates, with the seed\n"
        f"{seed}. A model pre-trained on it shows that everything works, and nothing else.\n"
    )


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    temporary.replace(path)


def main() -> None:
    """Parse the command line and write the text; errors are one line, with exit code 2."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder for the two files; created if missing")
    parser.add_argument("--seed", type=int, default=42, help="random seed (default 42)")
    parser.add_argument(
        "--documents", type=int, default=120, help="number of documents (default 120)"
    )
    args = parser.parse_args()
    try:
        if args.documents < 1:
            raise OSError(f"--documents must be at least 1, not {args.documents}")
        write_demo(args.folder, args.seed, args.documents)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
