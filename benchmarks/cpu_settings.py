"""What each of the CPU settings of bert_paddle/common/runtime.py is worth, in interleaved rounds.

    .venv/bin/python benchmarks/cpu_settings.py [--rounds 3] [--steps 8] [--tokens 16 48]

Every round starts one process for each setting, one after the other, so that a change in the
machine's load meets all of them. A process trains 6 layers x 384 (random weights, no dropout) on
batches of 32 rows; its last loss must be the same for all settings up to rounding. Prints a
Markdown table of the medians of a step's time and of the CPU time it used.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# A variable of the user's own keeps env.configure from choosing: that is how parts are left out.
AS_IT_COMES = {"OMP_NUM_THREADS": "1", "MALLOC_CHECK_": "0", "FLAGS_use_stride_kernel": "1"}
SETTINGS = {
    "as Paddle comes": ("OMP_NUM_THREADS", "MALLOC_CHECK_", "FLAGS_use_stride_kernel"),
    "+ threads": ("MALLOC_CHECK_", "FLAGS_use_stride_kernel"),
    "+ freed memory kept": ("FLAGS_use_stride_kernel",),
    "+ no views (all)": (),
}


def child(steps: int, tokens: list[int]) -> None:
    """Train on batches of each length; print medians and the last loss as JSON."""
    from bert_paddle.common import runtime

    runtime.configure(1, use_gpu=False)
    runtime.import_paddle()
    import numpy as np
    import paddle
    from paddlenlp.transformers import BertConfig, BertForSequenceClassification

    paddle.seed(1)
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = BertConfig(
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        **still,
    )
    model = BertForSequenceClassification(config)
    optimizer = paddle.optimizer.AdamW(
        2e-5, parameters=model.parameters(), grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0)
    )
    rng, labels, result = np.random.default_rng(0), paddle.arange(32) % 2, {}
    for length in tokens:
        ids = paddle.to_tensor(rng.integers(1, 30000, (32, length)))
        wall, cpu = [], []
        for _ in range(steps + 2):
            begun, used = time.perf_counter(), time.process_time()
            loss = paddle.nn.functional.cross_entropy(model(ids), labels)
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            last = float(loss)
            wall.append(1000 * (time.perf_counter() - begun))
            cpu.append(1000 * (time.process_time() - used))
        result[length] = (statistics.median(wall[2:]), statistics.median(cpu[2:]), last)
    print(json.dumps(result))


def one_run(names: tuple[str, ...], arguments: list[str]) -> dict[str, list[float]]:
    environment = {k: v for k, v in os.environ.items() if k not in AS_IT_COMES}
    environment |= {name: AS_IT_COMES[name] for name in names}
    done = subprocess.run(
        [sys.executable, __file__, "--child", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 48])
    parser.add_argument("--child", action="store_true")
    args = parser.parse_args()
    if args.child:
        child(args.steps, args.tokens)
        return
    passed = ["--steps", str(args.steps), "--tokens", *map(str, args.tokens)]
    runs: dict[str, list[dict]] = {name: [] for name in SETTINGS}
    for _ in range(args.rounds):
        for name, variables in SETTINGS.items():
            runs[name].append(one_run(variables, passed))
    import paddle

    from bert_paddle.common import hardware

    print(
        f"{datetime.date.today()}, {hardware.processor()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}, "
        f"paddlepaddle {paddle.__version__}; medians of {args.rounds} x {args.steps} steps\n"
    )
    print("| setting | tokens | step, ms | CPU, ms | CPU, times less | loss at the end |")
    print("|---|---|---|---|---|---|")
    for length in map(str, args.tokens):
        base = statistics.median(run[length][1] for run in runs["as Paddle comes"])
        for name, several in runs.items():
            wall, used = (statistics.median(run[length][k] for run in several) for k in (0, 1))
            print(
                f"| {name} | 32 × {length} | {wall:.0f} | {used:.0f} | {base / used:.2f} "
                f"| {several[0][length][2]:.6f} |"
            )


if __name__ == "__main__":
    main()
