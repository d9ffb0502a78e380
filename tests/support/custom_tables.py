"""Write invented rows in every format of custom data files."""

import csv
import json
import random
from pathlib import Path

import tiny

FORMATS = ("tsv", "quoted_tsv", "csv", "jsonl", "json")


def rows(count: int = 24, seed: int = 0, names: tuple[str, str] = ("neg", "pos")) -> list[dict]:
    """Sentences that end with "bad" and "good" in turn."""
    rng = random.Random(seed)
    return [
        {"text": f"{tiny.sentence(rng, 4)} {('bad', 'good')[i % 2]}", "label": names[i % 2]}
        for i in range(count)
    ]


def write(path: Path, content: list[dict], file_format: str | None = None) -> Path:
    """Write rows, all with the same fields, in a format (None: by the file extension)."""
    file_format = file_format or path.suffix.lstrip(".")
    if file_format == "jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content))
    elif file_format == "json":
        path.write_text(json.dumps(content, indent=1))
    elif file_format == "tsv":
        lines = [list(content[0]), *(map(str, row.values()) for row in content)]
        path.write_text("".join("\t".join(line) + "\n" for line in lines))
    else:
        with path.open("w", newline="") as file:
            delimiter = "\t" if file_format == "quoted_tsv" else ","
            writer = csv.writer(file, delimiter=delimiter, lineterminator="\r\n")
            writer.writerow(content[0])
            writer.writerows(row.values() for row in content)
    return path
