"""Draw the figures of BERT.md and ARCHITECTURE.md: python docs/figures.py, which writes
bert_model.png, bert_training.png and layers.png beside itself."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.patches import FancyBboxPatch  # noqa: E402

HERE = Path(__file__).parent
BLUE, ORANGE, GREEN, GREY, DARK = "#cfe2f3", "#fce5cd", "#d9ead3", "#eeeeee", "#333333"
TOKENS = ("[CLS]", "the", "una", "##ffa", "##ble", "man", "[SEP]", "he", "left", "[SEP]")
SECOND = 7  # the first token of the second sentence


def box(axes, x, y, width, height, text, color, size=9):
    """A rounded box whose lower left corner is at x, y."""
    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(
        FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=color, edgecolor=DARK)
    )
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=size)


def arrow(axes, start, end):
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": DARK, "lw": 0.9})


def canvas(width, height):
    figure, axes = plt.subplots(figsize=(width, height), dpi=130)
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.set_axis_off()
    figure.subplots_adjust(0, 0, 1, 1)
    return figure, axes


def draw_model():
    """The way from two sentences to the vectors of the last layer."""
    figure, axes = canvas(9.6, 5.4)
    left, step = 1.7, 0.77
    rows = (("token", 0.35), ("segment", 0.95), ("position", 1.55))
    for name, y in rows:
        axes.text(left - 0.15, y + 0.21, f"{name}\nembedding", ha="right", va="center", fontsize=8)
    for number, token in enumerate(TOKENS):
        x, second = left + number * step, number >= SECOND
        box(axes, x, 0.35, 0.68, 0.42, token, GREY if token[0] == "[" else BLUE)
        box(axes, x, 0.95, 0.68, 0.42, "B" if second else "A", GREEN if second else ORANGE)
        box(axes, x, 1.55, 0.68, 0.42, str(number), "white")
        for y in (0.86, 1.46):
            axes.text(x + 0.34, y, "+", ha="center", va="center", fontsize=9)
        arrow(axes, (x + 0.34, 1.99), (x + 0.34, 2.38))
        arrow(axes, (x + 0.34, 4.02), (x + 0.34, 4.38))
        box(axes, x, 4.4, 0.68, 0.42, f"$h_{{{number}}}$", ORANGE if number == 0 else "white")
    width = step * len(TOKENS) - 0.09
    axes.text(left - 0.15, 3.2, "encoder,\n12 layers\n(base)", ha="right", va="center", fontsize=8)
    axes.text(left - 0.15, 4.61, "vectors", ha="right", va="center", fontsize=8)
    for number, y in enumerate((2.4, 2.95, 3.58)):
        text = "attention: every token looks at all others; then a network for each token"
        box(axes, left, y, width, 0.42, text if number != 1 else "…", BLUE, 9)
    axes.text(left + 0.34, 5.05, "sentence", ha="center", fontsize=8)
    axes.text(left + 0.34, 4.9, "vector", ha="center", fontsize=8)
    middle = left + step * (1 + len(TOKENS)) / 2
    axes.text(middle, 5.0, "one vector for each token", ha="center", va="center", fontsize=8)
    axes.text(left, 0.1, "sentence A", fontsize=8)
    axes.text(left + SECOND * step, 0.1, "sentence B", fontsize=8)
    figure.savefig(HERE / "bert_model.png")
    plt.close(figure)


def draw_training():
    """The encoder with the heads of pre-training, and with that of a task."""
    figure, axes = canvas(9.6, 3.5)
    titles = ("pre-training on plain text", "fine-tuning on rows with labels")
    for title, x in zip(titles, (0.3, 5.2), strict=True):
        axes.text(x + 2.05, 3.25, title, ha="center", fontsize=10, fontweight="bold")
        box(axes, x, 1.05, 4.1, 0.75, "BERT's encoder", BLUE, 11)
    words = ("[CLS]", "the", "[MASK]", "sat", "[SEP]", "it", "[MASK]", "[SEP]")
    for number, word in enumerate(words):
        x = 0.3 + number * 0.515
        box(axes, x, 0.3, 0.48, 0.36, word, GREEN if word == "[MASK]" else GREY, 6)
        arrow(axes, (x + 0.24, 0.68), (x + 0.24, 1.03))
    box(axes, 0.1, 2.3, 0.9, 0.55, "next\nsentence?", ORANGE, 8)
    arrow(axes, (0.54, 1.82), (0.54, 2.28))
    for number, answer in ((2, "cat"), (6, "slept")):
        x = 0.3 + number * 0.515
        box(axes, x - 0.2, 2.3, 0.9, 0.55, f"“{answer}”", GREEN, 8)
        arrow(axes, (x + 0.24, 1.82), (x + 0.24, 2.28))
    for number, word in enumerate(("[CLS]", "a", "moving", "film", ".", "[SEP]")):
        x = 5.2 + number * 0.69
        box(axes, x, 0.3, 0.64, 0.36, word, GREY, 7)
        arrow(axes, (x + 0.32, 0.68), (x + 0.32, 1.03))
    box(axes, 5.2, 2.3, 2.2, 0.55, "new layer: positive 0.97", ORANGE, 8)
    arrow(axes, (5.52, 1.82), (5.9, 2.28))
    arrow(axes, (4.45, 1.42), (5.15, 1.42))
    axes.text(4.8, 1.52, "weights", ha="center", fontsize=8)
    figure.savefig(HERE / "bert_training.png")
    plt.close(figure)


# What is in bert_paddle, from top to bottom: each row imports only rows below it. Of a package: its
# name, what it has, its colour.
LAYERS = (
    (
        ("cli", "a module for each command", BLUE),
        ("api", "the same from Python", BLUE),
    ),
    (
        ("sweep", "grids, seeds, the whole of GLUE", GREY),
        ("export", "Hugging Face, ONNX, Paddle Inference", GREY),
    ),
    (
        ("submission", "a zip for GLUE's server", GREY),
        ("clm", "run_clm.py: GPT-2 on texts", ORANGE),
    ),
    (
        ("glue", "run_glue.py: tasks, own data, metrics, losses", ORANGE),
        ("pretrain", "run_pretrain.py, create-data: shards, masks", ORANGE),
    ),
    (("report", "report.html from the files of runs", GREEN),),
    (("training", "loop, step, optimizer, schedule, checkpoints, resume", GREEN),),
    (("models", "folders, weights, names, tokenizers, how a model is computed", GREEN),),
    (("models/kernels", "BERT's encoder and AdamW in C for CPUs", GREEN),),
    (("distributed", "launch, collectives, heartbeats, one error for all ranks", GREEN),),
    (("common", "flags, errors, log, atomic files, signals, environment", GREEN),),
)
# Titles at the left, by the rows (counted from the top) that they are for.
TITLES = (
    ("commands", 0, 0),
    ("on finished\nruns", 1, 2),
    ("the three\nprograms", 2.5, 3),
    ("shared\nby them", 4, 9),
)


def draw_layers():
    """The packages, in rows that import only what is below."""
    height, gap, left, width = 0.46, 0.12, 1.15, 7.85
    figure, axes = canvas(9.6, 0.2 + len(LAYERS) * (height + gap))

    def bottom(row):
        return 0.16 + (len(LAYERS) - 1 - row) * (height + gap)

    for number, packages in enumerate(LAYERS):
        y, each = bottom(number), (width - gap * (len(packages) - 1)) / len(packages)
        for place, (name, content, color) in enumerate(packages):
            x = left + place * (each + gap)
            box(axes, x, y, each, height, "", color)
            middle = x + each / 2
            axes.text(middle, y + 0.31, name, ha="center", va="center", weight="bold", fontsize=9)
            axes.text(middle, y + 0.13, content, ha="center", va="center", fontsize=7.5)
    for title, first, last in TITLES:
        y = (bottom(first) + bottom(last) + height) / 2
        axes.text(left - 0.12, y, title, ha="right", va="center", fontsize=8.5)
    start, end = (left + width + 0.15, bottom(0) + height), (left + width + 0.15, bottom(9))
    arrow(axes, start, end)
    axes.text(start[0] + 0.16, (start[1] + end[1]) / 2, "imports", rotation=270, va="center",
              ha="center", fontsize=8.5)  # fmt: skip
    figure.savefig(HERE / "layers.png")
    plt.close(figure)


if __name__ == "__main__":
    draw_model()
    draw_training()
    draw_layers()
