"""The scripts that show several labels, class weights and the flags for few rows."""

import json
from argparse import Namespace

from benchmarks import own_data, stability
from bert_paddle.glue.args import parse_args


def test_invented_rows_follow_their_rule():
    for row in own_data.topic_rows(50, 0):
        words = set(row["text"].split())
        assert row["labels"] == [n for n, of in own_data.TOPICS.items() if words & set(of)]
    rows = own_data.class_rows(3000, 0)
    rare = [row for row in rows if row["label"] == "rare"]
    assert 0.04 < len(rare) / len(rows) < 0.08
    hinted = [row for row in rows if set(row["text"].split()) & set(own_data.ALARMS)]
    assert 0.2 < sum(row["label"] == "rare" for row in hinted) / len(hinted) < 0.5


def test_the_page_of_finished_runs(tmp_path):
    args = Namespace(
        output_dir=tmp_path, tasks="RTE,CoLA", max_steps=-1, num_train_epochs=3.0,
        model_name_or_path="models/minilm",
    )  # fmt: skip
    for seed, accuracy in ((2, 0.5), (10, 0.6)):
        folder = stability.folder_of(tmp_path, "RTE", "--reinit_layers 1") / f"seed_{seed}"
        folder.mkdir(parents=True)
        results = {"eval_accuracy": accuracy, "train_steps_per_second": 4.0}
        (folder / "all_results.json").write_text(json.dumps(results))
    page = stability.page(args)
    row = "| `--reinit_layers 1` | 2 | 0.5500 | 0.0707 | 0.5000 | 0.6000 | 250 |"
    assert row in page and "with minilm" in page and "CoLA" not in page.partition("##")[2]


def test_all_variants_are_flags():
    base = "--task_name rte --model_name_or_path m --output_dir o".split()
    for name, flags in stability.VARIANTS.items():
        parse_args([*base, *flags])
        assert name in ("none", " ".join(flags))
