"""A small GPT-2 from random weights on novels of the public domain, evaluated on another author's.

    BERT_PADDLE_TEXT_DIR=... .venv/bin/python benchmarks/gpt2_novels.py

About half an hour on two cores. Run again after an interruption, it resumes; run again when it is
finished, it only writes the page. Reads novels/*.txt, whose paragraphs become lines; trains a
vocabulary, then the model with run_clm.py; writes benchmarks/gpt2_novels.md and .png: perplexity by
epoch beside that of token frequencies, samples from beginning and end, texts of `generate`.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bert_paddle.common import hardware, run_log  # noqa: E402

HELD_OUT, AUTHOR = "Doyle_Hound_1902.txt", "Doyle"  # nothing else of the author is trained on
NOVELS = 12  # to train on, in the order of their file names
VOCABULARY = 4096
SIZES = {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 4}
PROMPTS = ("The old man", '"I am afraid,"', "In the morning")


def prepare(folder: Path, out: Path) -> None:
    """The texts, a paragraph per line, and the vocabulary."""
    novels = sorted((folder / "novels").glob("*.txt"))
    held_out = [path for path in novels if path.name == HELD_OUT]
    trained = [path for path in novels if not path.name.startswith(AUTHOR)][:NOVELS]
    for name, paths in {"train.txt": trained, "held_out.txt": held_out}.items():
        texts = [path.read_text(encoding="utf-8-sig") for path in paths]
        lines = [" ".join(part.split()) for text in texts for part in re.split(r"\n\s*\n", text)]
        (out / name).write_text("\n".join(filter(None, lines)) + "\n", encoding="utf-8")
    if not (out / "vocabulary" / "vocab.json").is_file():
        run("scripts/train_vocab.py", "--kind", "bpe", "--input_files", str(out / "train.txt"),
            "--vocab_size", str(VOCABULARY), "--output_dir", str(out / "vocabulary"))  # fmt: skip


def command(out: Path, epochs: float, max_steps: int) -> list[str]:
    """The command line of the training."""
    sizes = [f"--{name}={size}" for name, size in SIZES.items()]
    limit = ["--max_steps", str(max_steps)] if max_steps > 0 else []
    return [
        *("run_clm.py", "--model_name_or_path", "gpt2", "--random_weights", *sizes),
        *("--max_position_embeddings", "256", "--vocab_file", f"{out}/vocabulary/vocab.json"),
        *("--train_file", f"{out}/train.txt", "--validation_file", f"{out}/held_out.txt"),
        *("--packing", "--batch_size", "16", "--learning_rate", "2e-3", "--warmup_steps", "100"),
        *("--weight_decay", "0.01", "--num_train_epochs", str(epochs), *limit),
        *("--save_strategy", "epoch", "--save_total_limit", "2"),
        *("--load_best_model_at_end", "--sample_every", "50", "--sample_length", "60"),
        *("--resume_from_checkpoint", "auto", "--output_dir", f"{out}/run"),
    ]


def run(*arguments: str, keep: bool = False) -> str:
    """Run a program of this project with this Python; with `keep`, returns its stdout."""
    print("$", shlex.join(arguments), file=sys.stderr, flush=True)
    command = [sys.executable, "-u", *arguments]
    stdout = subprocess.PIPE if keep else None
    done = subprocess.run(command, cwd=ROOT, stdout=stdout, text=True, check=True)
    return done.stdout or ""


def page(out: Path, arguments: list[str]) -> str:
    """The page, in Markdown."""
    folder = out / "run"
    results = json.loads((folder / "all_results.json").read_text("utf-8"))
    info = json.loads((folder / "run.json").read_text("utf-8"))
    records = run_log.read_metrics(folder)
    epochs = [record for record in records if record["kind"] == "epoch"]
    samples = [record for record in records if record["kind"] == "sample"]
    unigram = results["unigram_perplexity"]
    shown = shlex.join(arguments).replace(str(out), "OUT")
    lines = [
        "# A small GPT-2 from random weights on novels",
        "",
        f"    BERT_PADDLE_TEXT_DIR=... python benchmarks/gpt2_novels.py --out {out.name}",
        "",
        f"{time.strftime('%Y-%m-%d')}, {hardware.describe()}. Trained on {NOVELS} novels of the "
        f"public domain ({info['rows']['train']:,} paragraphs), evaluated on one by another author "
        f"({info['rows']['dev']:,}); {info['parameters']:,} parameters, {VOCABULARY:,} tokens. "
        "Other programs may have run beside: the seconds are no measure of speed.",
        "",
        "```shell",
        f"python {shown}",
        "```",
        "",
        f"By the frequencies of tokens alone the held-out perplexity is {unigram:.1f}.",
        "",
        "| epoch | step | training loss | validation loss | perplexity | of the unigram's | s |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['epoch']:g} | {r['step']} | {r['train_loss']:.3f} | {r['eval_loss']:.3f} | "
        f"{r['perplexity']:.1f} | 1/{unigram / r['perplexity']:.1f} | {r['train_seconds']:.0f} |"
        for r in epochs
    ]
    lines += ["", "![Perplexity](gpt2_novels.png)", "", "Samples while training:", ""]
    chosen = [*samples[:2], *samples[-2:]] if len(samples) > 4 else samples
    lines += [f"- step {r['step']}: `{_one_line(r['text'])}`" for r in chosen]
    model = folder / f"model_{results['best_step']}"
    lines += ["", f"`bert-paddle generate {model.name} --max_new_tokens 60`:", ""]
    for prompt in PROMPTS:
        flags = ("--prompt", prompt, "--max_new_tokens", "60", "--json")
        text = json.loads(run("-m", "bert_paddle", "generate", str(model), *flags, keep=True))[
            "text"
        ]
        lines.append(f"- **{prompt}**`{_one_line(text)}`")
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.replace("`", "'").split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--max_steps", type=int, default=-1, help="for a trial")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "novels")
    parser.add_argument("--page", type=Path, default=ROOT / "benchmarks" / "gpt2_novels.md")
    flags = parser.parse_args()
    texts = os.environ.get("BERT_PADDLE_TEXT_DIR")
    if not texts:
        parser.error("set BERT_PADDLE_TEXT_DIR to a folder of texts with novels/")
    out = flags.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    prepare(Path(texts), out)
    arguments = command(out, flags.epochs, flags.max_steps)
    run(*arguments)
    flags.page.write_text(page(out, arguments), encoding="utf-8")
    shutil.copy(out / "run" / "pictures" / "perplexity.png", flags.page.with_suffix(".png"))


if __name__ == "__main__":
    main()
