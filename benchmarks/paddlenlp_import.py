"""What loading PaddleNLP's BERT takes: by `bert_paddle.models.paddlenlp_bert` and by
`import paddlenlp`.

Each in a new process, in turns; seconds and resident memory from after `import paddle` on.
    .venv/bin/python benchmarks/paddlenlp_import.py --rounds 5 > benchmarks/paddlenlp_import.md
"""

import argparse
import datetime
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bert_paddle.common import hardware  # noqa: E402

MEASURED = """
import time
from pathlib import Path
from bert_paddle.common import runtime
from bert_paddle.models import paddlenlp_bert
runtime.configure(1, use_gpu=False)
runtime.import_paddle()
def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
before, begun = resident(), time.perf_counter()
{statement}
print(time.perf_counter() - begun, resident() - before)
"""
WAYS = ("paddlenlp_bert.bert_module()", "from paddlenlp.transformers import BertModel")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    found: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            script = MEASURED.replace("{statement}", way)
            command = [sys.executable, "-W", "ignore", "-c", script]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            found[way].append([float(one) for one in done.stdout.split()[-2:]])
    print("# What loading PaddleNLP's BERT takes\n")
    print("`.venv/bin/python benchmarks/paddlenlp_import.py`: after `import paddle`, each in a new")
    print(f"process, medians of {rounds} turns (least to largest). {datetime.date.today()},")
    print(f"{hardware.describe()}.\n")
    print("| | seconds | MiB |\n|---|---|---|")
    for way, values in found.items():
        cells = [
            f"{statistics.median(column):.2f} ({min(column):.2f} to {max(column):.2f})"
            for column in zip(*values, strict=True)
        ]
        print(f"| `{way}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
