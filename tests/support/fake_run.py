"""A stand-in for run_glue.py: writes what a run leaves, fails or waits, as its flags tell it.

weight_decay 0.9: ends with exit code 2 and a line; 0.8: ends well without results; 0.7: waits for a
SIGTERM and then ends as a saved training does. Else eval_accuracy = batch_size/100 + seed/1000.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from bert_paddle.common import atomic_files
from bert_paddle.glue.args import parse_args


def main() -> None:
    args = parse_args(sys.argv[1:])
    folder = Path(args.output_dir)
    with open(folder.parent / "calls", "a", encoding="utf-8") as calls:
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
        calls.write(json.dumps([args.seed, args.resume_from_checkpoint, gpus, time.time()]) + "\n")
    if args.weight_decay == 0.9:
        sys.exit(_told("error: a < b | c is wrong", 2))
    if args.weight_decay == 0.8:
        return
    if args.weight_decay == 0.7:
        _wait(folder)
    accuracy = args.batch_size / 100 + args.seed / 1000
    results = {"task": args.task_name, "data": "glue", "eval_accuracy": accuracy, "eval_loss": 1.5}
    results |= {"eval_samples": 16, "eval_runtime": 0.1, "train_runtime": 7.25}
    atomic_files.write_json(folder / "all_results.json", results)
    record = {"settings": args.as_dict(), "metric": ["accuracy"], "finished": "now"}
    atomic_files.write_json(folder / "run.json", record)


def _wait(folder: Path) -> None:
    def save(number, frame):
        (folder / "saved").touch()
        sys.exit(_told("error: SIGTERM: saved", 143))

    signal.signal(signal.SIGTERM, save)
    (folder / "pid").write_text(str(os.getpid()))
    (folder / "pid").rename(folder / "waiting")  # never seen half written
    time.sleep(60)


def _told(line: str, code: int) -> int:
    print(line, file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    main()
