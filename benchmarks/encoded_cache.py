"""What does the cache of word pieces give? A set as large as MNLI's, on this machine.

    python benchmarks/encoded_cache.py GLUE_DIR MODEL_DIR [--pairs 392702] [--rounds 3]

The pairs are rows of QNLI's files, as often as needed, with the row's number as another word, so
that no two are alike. In turns: encoded without the cache, encoded and written into it, and read
from it. Prints Markdown.
"""

import argparse
import csv
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bert_paddle.glue.data import encoded_cache  # noqa: E402
from bert_paddle.glue.data.tsv import Examples  # noqa: E402
from bert_paddle.models.tokenizer import load_tokenizer  # noqa: E402


def make_pairs(folder: Path, count: int) -> Examples:
    rows = []
    for name in ("train.tsv", "dev.tsv", "test.tsv"):
        path = folder / "QNLI" / name
        if path.is_file():
            with path.open(encoding="utf-8") as file:
                reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
                rows += [row[1:3] for row in list(reader)[1:] if len(row) > 2]
    pairs = [rows[i % len(rows)] for i in range(count)]
    firsts = [f"{a} {i // len(rows)}" for i, (a, _) in enumerate(pairs)]
    print(f"{count:,} pairs from {len(rows):,} rows of QNLI.\n")
    return Examples(firsts, [b for _, b in pairs], None, "QNLI")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("glue_dir", type=Path)
    parser.add_argument("model_dir", type=Path)
    parser.add_argument("--pairs", type=int, default=392_702)
    parser.add_argument("--rounds", type=int, default=3)
    flags = parser.parse_args()
    examples, tokenizer = make_pairs(flags.glue_dir, flags.pairs), load_tokenizer(flags.model_dir)
    seconds: dict[str, list[float]] = {"without": [], "written": [], "read": []}

    print("| round | encoding | s | CPU s |\n|---|---|---|---|")

    def timed(name: str, encode: Callable[[], object]) -> None:
        begun, used = time.perf_counter(), time.process_time()
        encode()
        elapsed, cpu = time.perf_counter() - begun, time.process_time() - used
        seconds[name].append(elapsed)
        print(f"| {len(seconds[name])} | {name} | {elapsed:.2f} | {cpu:.2f} |", flush=True)

    def with_cache() -> object:
        return encoded_cache.encode(examples, tokenizer, 128)

    for _ in range(flags.rounds):
        with tempfile.TemporaryDirectory() as cache:
            os.environ["XDG_CACHE_HOME"] = cache
            timed(
                "without",
                lambda: encoded_cache._encode_in_parts(examples, tokenizer, 128, lambda rows: None),
            )
            timed("written", with_cache)
            timed("read", with_cache)
            (file,) = Path(cache).rglob("*.npz")
            size = file.stat().st_size / 1e6
    medians = ", ".join(f"{name} {statistics.median(s):.2f} s" for name, s in seconds.items())
    print(f"\nMedians: {medians}. The file: {size:.0f} MB.")


if __name__ == "__main__":
    main()
