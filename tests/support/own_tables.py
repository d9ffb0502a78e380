"""Invented rows as files of every format that own data come in."""

import csv
import json
import random
from pathlib import Path

import tiny

FORMATS = ("tsv", "quoted_tsv", "csv", "jsonl", "json")


def rows(count: int = 24, seed: int = 0, names: tuple[str, str] = ("neg", "pos")) -> list[dict]:
    """Sentences that say "good" or "bad", in turns."""
    rng = random.Random(seed)
    return [
        {"text": f"{tiny.sentence(rng, 4)} {('bad', 'good')[i % 2]}", "label": names[i % 2]}
        for i in range(count)
    ]


def write(path: Path, content: list[dict], form: str | None = None) -> Path:
    """Write rows, all with the same fields, in a format (None: that of the ending)."""
    form = form or path.suffix.lstrip(".")
    if form == "jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content))
    elif form == "json":
        path.write_text(json.dumps(content, indent=1))
    elif form == "tsv":
        lines = [list(content[0]), *(map(str, row.values()) for row in content)]
        path.write_text("".join("\t".join(line) + "\n" for line in lines))
    else:
        with path.open("w", newline="") as file:
            delimiter = "\t" if form == "quoted_tsv" else ","
            writer = csv.writer(file, delimiter=delimiter, lineterminator="\r\n")
            writer.writerow(content[0])
            writer.writerows(row.values() for row in content)
    return path
