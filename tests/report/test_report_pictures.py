"""The pictures: colours for all kinds of sight, whole ticks, bars of batches, the page's teaching
part."""

import io
import itertools
import json

import numpy as np
import pytest
import run_folders
from run_folders import plain_pictures  # noqa: F401

from bert_paddle.report import build, curves, data_rows, figures, page, plots, run_data

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
SIGHT = {
    "all colours": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.28, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(color: str) -> np.ndarray:
    value = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize(
    ("series", "background"),
    [(figures.PRINT_PALETTE.series, "#f5f6f8"), (page._DARK_SERIES, "#20242a")],
)
def test_colours_of_curves_differ_for_all_kinds_of_sight(sight, series, background):
    seen = [lab(np.array(SIGHT[sight]) @ linear(color)) for color in series]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 20
    light = [linear(color) @ TO_XYZ[1] + 0.05 for color in (*series, background)]
    assert all(max(y, light[-1]) / min(y, light[-1]) >= 3 for y in light[:-1])


def axes_of(picture):
    from matplotlib.figure import Figure

    axes = Figure(figsize=(3.7, 2.6)).add_subplot()
    picture.draw(axes, figures.PRINT_PALETTE)
    return axes


def picture_of(folder, name: str):
    run = run_data.read(folder)
    return next(p for p in [*curves.pictures([run]), *plots.pictures(run)] if p.name == name)


def test_pictures_have_all_colours(tmp_path):
    from PIL import Image

    folder = run_folders.write_run(tmp_path / "a")
    png = Image.open(io.BytesIO(figures.render_png(picture_of(folder, "metrics"))))
    assert png.mode in ("RGB", "RGBA")


@pytest.mark.parametrize("steps", [[4], [4, 5], [20, 40], list(range(1, 400001, 20000))])
def test_ticks_are_whole_steps_and_do_not_overlap(tmp_path, steps):
    folder = run_folders.write_run(tmp_path / "a")
    records = [{"kind": "train", "step": step, "loss": 0.5} for step in steps]
    run_folders.write_lines(folder / "metrics.jsonl", records)
    axes = axes_of(picture_of(folder, "loss"))
    low, high = axes.get_xlim()
    shown = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert shown and all(tick == int(tick) for tick in shown)
    labels = [axes.xaxis.get_major_formatter()(tick) for tick in shown]
    assert sum(map(len, labels)) <= 40


def test_losses_by_epoch_with_the_mark_of_overfitting(tmp_path):
    folder = run_folders.write_run(tmp_path / "a")
    rows = [
        {"kind": "epoch", "step": 5 * (i + 1), "epoch": i + 1, "train_loss": t, "eval_loss": v}
        for i, (t, v) in enumerate([(0.6, 0.55), (0.5, 0.5), (0.4, 0.6)])
    ]
    evals = [{"kind": "eval", "step": row["step"], "loss": row["eval_loss"]} for row in rows]
    run_folders.write_lines(folder / "metrics.jsonl", [*evals, *rows])
    picture = picture_of(folder, "loss_by_epoch")
    assert "Overfitting since epoch 2" in picture.note
    lines = axes_of(picture).get_lines()
    assert list(lines[0].get_ydata()) == [0.6, 0.5, 0.4]
    assert list(lines[1].get_ydata()) == [0.55, 0.5, 0.6]
    assert list(lines[2].get_xdata()) == [2, 2]


def test_bars_of_batches_show_zeros_and_the_short_last_batch(tmp_path):
    folder = run_folders.write_run(tmp_path / "a", metric=["matthews_correlation"])
    rows = [run_folders.prediction(i, "no", "no", 0.9) for i in range(32)]  # one class: 0
    rows += [run_folders.prediction(i, *[["yes", "no"][i % 2]] * 2, 0.9) for i in range(8)]
    run_folders.write_lines(folder / "dev_predictions.jsonl", rows)
    picture = picture_of(folder, "mcc_by_batch")
    axes = axes_of(picture)
    low, high = axes.get_ylim()
    assert low <= -1 and high >= 1
    zero, last = axes.patches
    assert (zero.get_height(), last.get_height()) == (0, 1) and last.get_hatch()
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert [list(dot.get_xdata()) for dot in dots] == [[1]]
    assert "the last batch has 8 rows" in picture.note


def test_many_batches_are_one_area(tmp_path):
    folder = run_folders.write_run(tmp_path / "a", metric=["matthews_correlation"])
    rows = [run_folders.prediction(i, "yes", "no", 0.9) for i in range(32 * 150)]
    run_folders.write_lines(folder / "dev_predictions.jsonl", rows)
    svg = figures.render_svg(picture_of(folder, "mcc_by_batch"), "x")
    assert len(svg) < 60_000


def test_wrong_cells_differ_from_right_ones():
    colors = plots._cell_colors(np.array([[0.8, 0.2], [0.4, 0.6]]))
    right, wrong = colors[[0, 1], [0, 1]], colors[[0, 1], [1, 0]]
    assert np.all(right[:, 2] > right[:, 0]) and np.all(wrong[:, 0] > wrong[:, 2])
    assert right[0, 3] > right[1, 3] > wrong[0, 3]


def test_long_titles_are_wrapped_not_cut():
    title = "Confusion matrix, test set a_set_with_a_very_long_name_of_many_words"
    lines = figures.wrap(title, 34).split("\n")
    assert max(map(len, lines)) <= 34
    assert "".join(lines).replace(" ", "") == title.replace(" ", "")
    assert figures.wrap("x" * 80, 34).replace("\n", "") == "x" * 80


def test_rows_shown_have_wrong_ones_and_are_always_the_same(tmp_path):
    run = run_data.read(run_folders.write_run(tmp_path / "a"))
    rows = data_rows.sample_rows(run.predictions[0])
    assert len(rows) == 10 and sum(not row.right for row in rows) == 4
    assert rows == data_rows.sample_rows(run.predictions[0])


EXAMPLE = {
    "pieces": ["[CLS]", "<b>cat</b>", "[SEP]", "[PAD]"],
    "input_ids": [2, 7, 3, 0],
    "input_mask": [1, 1, 1, 0],
    "segment_ids": [0, 0, 0, 0],
    "label": "yes",
}


@pytest.mark.usefixtures("plain_pictures")
def test_the_page_teaches(tmp_path):
    counts = {"train": [10, 30]}
    folder = run_folders.write_run(tmp_path / "a", example=EXAMPLE, class_counts=counts)
    text = build.write_run_report(folder).read_text()
    assert "always answers “yes” is right in 75.0%" in text and "10 (25.0%)" in text
    assert "&lt;b&gt;cat&lt;/b&gt;" in text and "<b>cat" not in text and "[PAD]" in text
    assert "Some rows, dev set" in text and "✗" in text
    assert "the model gave its answer a probability of 85.0%" in text


@pytest.mark.parametrize(
    "odd",
    [
        {"example": 5, "class_counts": 5},
        {"example": {**EXAMPLE, "input_ids": ["x", None, 1, 2]}, "class_counts": {"train": [1]}},
        {"example": {**EXAMPLE, "pieces": None}, "class_counts": {"train": [0, 0]}},
        {"example": {**EXAMPLE, "input_mask": [1]}, "class_counts": {"train": ["a", None]}},
        {"example": {**EXAMPLE, "input_ids": [1e400] * 4}, "class_counts": {"x": [-1, 1]}},
    ],
)
@pytest.mark.usefixtures("plain_pictures")
def test_an_odd_example_or_balance_does_not_break_the_page(tmp_path, odd):
    text = build.write_run_report(run_folders.write_run(tmp_path / "a", **odd)).read_text()
    assert "<svg" in text


def test_flags_and_small_numbers_in_sentences_are_not_broken():
    text = str(page._unbroken_flags("<i> --learning_rate is 2e-05"))
    assert text == "&lt;i&gt; <code>--learning_rate</code> is <code>2e-05</code>"


@pytest.mark.usefixtures("plain_pictures")
def test_cells_of_epochs_name_their_column_for_phones(tmp_path):
    folder = run_folders.write_run(tmp_path / "a")
    epoch = {"kind": "epoch", "step": 5, "epoch": 1, "eval_loss": 0.4321}
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(epoch) + "\n")
    text = build.write_run_report(folder).read_text()
    assert '<td data-name="eval loss">0.4321</td>' in text


def test_a_very_long_text_is_cut():
    lines = figures.wrap("n" * 100_000, 16).split("\n")
    assert len(lines) == 19 and lines[-1].endswith("...")
