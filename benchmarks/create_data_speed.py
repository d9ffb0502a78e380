"""How fast scripts/create_pretraining_data.py is on one core, and how much memory it takes.

    BERT_PADDLE_TEXT_DIR=... .venv/bin/python benchmarks/create_data_speed.py --vocab_file VOCAB \
        [--input FOLDER] [--rounds 3] [--repeat 1 4 16]

Runs the script itself on $BERT_PADDLE_TEXT_DIR/pd_en (or FOLDER), one sentence a line, as a process
on one core with one worker, dupe_factor 5, length 128. Speed is input sentences by the whole time
of that process, its imports among it; memory is the most that it had resident. The input given
several times over, as one shard, shows that memory does not grow with it. Prints Markdown.
"""

import argparse
import datetime
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
SCRIPT = ROOT / "scripts" / "create_pretraining_data.py"


def one_run(inputs: list[Path], vocab_file: str, core: int) -> tuple[int, float, float, float]:
    """Sentences, seconds of the process, seconds that it says itself, peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(SCRIPT), "--vocab_file", vocab_file, "--shards", "1"]
        command += ["--input_files", ",".join(map(str, inputs)), "--output_dir", f"{folder}/out"]
        begun = time.perf_counter()
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
    if status:
        raise SystemExit(said)
    found = re.search(r"([\d,]+) sentences in ([\d.]+) s", said)
    assert found is not None, said
    return int(found[1].replace(",", "")), seconds, float(found[2]), usage.ru_maxrss / 1024


def repeated(source: Path, times: int, folder: Path) -> Path:
    """A folder with the files of `source`, each so many times under other names."""
    target = folder / f"x{times}"
    target.mkdir()
    for path in sorted(source.glob("*.txt")):
        for number in range(times):
            shutil.copy(path, target / f"{number}_{path.name}")
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    given = os.environ.get("BERT_PADDLE_TEXT_DIR")
    parser.add_argument("--input", type=Path, default=Path(given) / "pd_en" if given else None)
    parser.add_argument("--vocab_file", default="all-minilm-l6-v2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--core", type=int, default=0)
    args = parser.parse_args()
    if args.input is None:
        parser.error("give --input, or set BERT_PADDLE_TEXT_DIR")

    from bert_paddle.common import hardware

    runs = [one_run([args.input], args.vocab_file, args.core) for _ in range(args.rounds)]
    size = sum(path.stat().st_size for path in args.input.glob("*.txt"))
    about = hardware.describe("numpy", "h5py", "tokenizers", "deflate")
    print(
        f"{datetime.date.today()}, {about}; on one core, load {os.getloadavg()[0]:.1f}; median of "
        f"{args.rounds}\n"
    )
    print("| sentences | characters a sentence | whole process, s | sentences/s | without start |")
    print("|---|---|---|---|---|")
    sentences = runs[0][0]
    seconds, inside = (statistics.median(run[k] for run in runs) for k in (1, 2))
    print(
        f"| {sentences:,} | {size / sentences:.0f} | {seconds:.2f} | {sentences / seconds:,.0f} "
        f"| {sentences / inside:,.0f} |\n"
    )
    print("| input, MB, as one shard | peak memory, MB | whole process, s |")
    print("|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for times in args.repeat:
            source = repeated(args.input, times, Path(folder))
            _, seconds, _, memory = one_run([source], args.vocab_file, args.core)
            print(f"| {times * size / 1e6:.0f} | {memory:.0f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
