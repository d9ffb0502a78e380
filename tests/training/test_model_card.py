"""The README.md of a saved model: valid for Hugging Face's hub, escaped, reproducible."""

import dataclasses
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

from bert_paddle.common import markdown
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args
from bert_paddle.training import model_card
from bert_paddle.training.model_card import (
    CardFacts,
    front_matter,
    render_card,
    split_front_matter,
)
from bert_paddle.training.train_state import TrainState

SPECIAL = (
    'x|y `z` <script>alert(1)</script> *b* [l](http://a) _i_ # "q" : - !!python/object ñ 中 \\'
)
FACTS = CardFacts(
    "MRPC",
    "classification",
    20,
    base="bert-base-uncased",
    pairs=True,
    language="en",
    labels=("not_equivalent", "equivalent"),
    results={"loss": 0.5, "accuracy": 0.75, "f1": 0.875},
    hub_dataset={"type": "nyu-mll/glue", "name": "GLUE MRPC", "config": "mrpc"},
    rows={"training": 3668, "dev": 408},
    settings={"seed": 42},
)


def render_html(markdown: str) -> str:
    from markdown_it import MarkdownIt

    # As GitHub and the hub render: with tables, raw HTML and automatic links.
    return MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(markdown)


def test_the_hub_reads_the_metadata_and_the_results():
    from huggingface_hub import ModelCard

    card = ModelCard(render_card(FACTS), ignore_metadata_errors=False)
    assert card.data.base_model == "bert-base-uncased" and card.data.language == "en"
    assert card.data.metrics == ["accuracy", "f1"] and card.data.datasets == ["nyu-mll/glue"]
    metrics = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert metrics == {"accuracy": 0.75, "f1": 0.875}
    assert {result.dataset_config for result in card.data.eval_results} == {"mrpc"}
    assert card.text.lstrip().startswith("# MRPC, step 20")


def test_special_characters_are_escaped():
    facts = replace(
        FACTS, task=SPECIAL, labels=("a|b", SPECIAL), base="/data/" + SPECIAL, hub_dataset=None
    )
    card = render_card(facts)
    front, body = split_front_matter(card)
    assert front == front_matter(facts)  # round trip through YAML
    html = render_html(body)
    for tag in ("<script", "<em>", "<a ", "<strong>"):
        assert tag not in html
    escaped = SPECIAL.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    assert f"<td>{escaped}</td>" in html
    assert html.count("<h1>") == 1 and f"<h1>{escaped}, step 20</h1>" in html


def test_a_name_with_line_breaks_cannot_start_a_heading_or_end_a_table():
    assert markdown.escape("a\n# b\r\n| c") == "a \\# b \\| c"
    assert "<h1>" not in render_html(markdown.table(("x",), [("a\n\n# b",)]))


def test_results_on_other_data_are_not_listed_on_the_hub():
    assert "model-index" not in front_matter(replace(FACTS, hub_dataset=None))
    assert "datasets" not in front_matter(replace(FACTS, hub_dataset=None))
    unevaluated = replace(FACTS, results={})
    assert "metrics" not in front_matter(unevaluated)
    assert "not evaluated when they were saved" in render_card(unevaluated)


def test_a_folder_is_no_base_model_and_its_path_is_not_shown(tmp_path):
    facts = replace(FACTS, base=str(tmp_path / "mine"))
    assert "base_model" not in front_matter(facts)
    assert str(tmp_path) not in render_card(facts) and "from mine:" in render_card(facts)


def test_metrics_have_the_hubs_names():
    facts = replace(FACTS, kind="regression", labels=(), results={"pearson": 0.5, "spearmanr": 0.4})
    assert front_matter(facts)["metrics"] == ["pearsonr", "spearmanr"]
    assert "a score" in render_card(facts) and "## Classes" not in render_card(facts)


@pytest.mark.parametrize(
    "malformed", ["", "no metadata", "---\n{: [\n---\nbody", "---\n- a\n---\nbody"]
)
def test_malformed_metadata_is_empty(malformed):
    assert split_front_matter(malformed)[0] == {}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, tiny_dir) -> Path:
    """A run of two steps on invented rows, with an evaluation at each save."""
    root = tmp_path_factory.mktemp("card")
    tiny.write_sst2(root / "SST-2")
    argv = f"--task_name sst2 --model_name_or_path {tiny_dir} --data_dir {root} --batch_size 8 "
    argv += f"--max_seq_length 32 --max_steps 2 --save_steps 1 --report 0 --output_dir {root}/out"
    finetune.run(parse_args(argv.split()))
    return root / "out"


def test_every_checkpoint_has_the_card_of_its_step(run_dir):
    import json

    records = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    accuracy = {r["step"]: r["accuracy"] for r in records if r["kind"] == "eval"}
    for step in (1, 2):
        card = (run_dir / f"model_{step}" / "README.md").read_text()
        assert f"# SST-2, step {step}\n" in card
        assert f"| accuracy | {accuracy[step]:.6f} |" in card
        assert f"| steps | {step} of 2 planned |" in card
        assert "| training | 48 |" in card and "| rows per step | 8 |" in card
        assert "Trained on 48 rows; the official training file has 67,349." in card
        assert str(run_dir) not in card
    manifest = json.loads((run_dir / "model_2" / "manifest.json").read_text())
    assert "README.md" in manifest["files"]


def test_the_cards_paddlenlp_code_loads_the_model(run_dir, monkeypatch):
    import numpy as np
    import paddle
    from safetensors.numpy import load_file

    card = (run_dir / "model_2" / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0]
    assert "paddlenlp" in code
    monkeypatch.chdir(run_dir)
    names: dict = {}
    exec(code, names)
    stored = load_file(run_dir / "model_2" / "model.safetensors")
    loaded = names["model"].state_dict()
    assert all(np.array_equal(loaded[name].numpy(), value) for name, value in stored.items())
    assert names["tokenizer"]("the cat")["input_ids"][0] == 2  # [CLS]
    paddle.seed(0)


def test_export_of_a_model_whose_card_is_unreadable(run_dir, tmp_path):
    """A model folder does not need its card."""
    copy = shutil.copytree(run_dir / "model_2", tmp_path / "m")
    (copy / model_card.CARD_FILE).write_bytes(b"\xff\xfe")
    from bert_paddle.export import card, source

    assert card._read_model_card(source.ExportSource(copy, None, {}, ("a",), None, False))[
        1
    ].startswith("# m\n")


def test_the_schedule_has_the_warm_up_steps_of_the_optimizer():
    """1.2 steps of warm-up are 2: a card must not state one step too few."""
    flags = "--task_name mrpc --model_name_or_path m --output_dir o --warmup_ratio 0.1"
    args, state = parse_args(flags.split()), TrainState(total=12)
    assert model_card.training_settings(args, state)["schedule"] == "linear, 2 warm-up steps"


def test_results_with_intervals_say_what_these_cover():
    assert "95 % interval" not in model_card.render_card(FACTS)
    facts = dataclasses.replace(FACTS, intervals={"accuracy": (0.7081, 0.7919)})
    text = model_card.render_card(facts)
    assert "| accuracy | 0.750000 | 0.7081 to 0.7919 |" in text
    assert "| loss | 0.500000 |  |" in text and "not what another seed would" in text
