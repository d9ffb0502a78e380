"""Models whose config.json does not name their classes, or names too few: run_glue.py on files."""

import json
from pathlib import Path

import custom_tables
import numpy as np
import pytest
import tiny

from bert_paddle.common.errors import WeightsError
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    custom_tables.write(Path("x.csv"), custom_tables.rows(12))

    def call(model: Path, flags: str) -> dict:
        argv = f"--model_name_or_path {model} --output_dir out --report 0 --max_seq_length 32 "
        return finetune.run(parse_args((argv + flags).split()))

    return call


def rename_classes(model: Path, id2label: dict | None) -> Path:
    path = model / "config.json"
    content = json.loads(path.read_text())
    for name in ("id2label", "label2id", "finetuning_task"):
        content.pop(name)
    path.write_text(json.dumps(content | ({"id2label": id2label} if id2label else {})))
    return model


def test_the_number_of_classes_is_that_of_the_weights(run, tmp_path):
    model = rename_classes(tiny.write_model(tmp_path / "m", ("a", "b", "c")), None)
    run(model, "--do_predict --test_file x.csv")
    rows = Path("out/predictions/x.tsv").read_text().splitlines()[1:]
    assert len(rows) == 12 and {row.split("\t")[1] for row in rows} <= {
        "LABEL_0",
        "LABEL_1",
        "LABEL_2",
    }
    rows = [{"text": "the film", "label": f"LABEL_{i % 3}"} for i in range(6)]
    custom_tables.write(Path("dev.csv"), rows)
    results = run(model, "--do_eval --validation_file dev.csv")
    assert np.isclose(results["eval_accuracy"], 1 / 3)


def test_a_single_unnamed_output_is_a_score(run, tmp_path):
    model = rename_classes(tiny.write_model(tmp_path / "m", ()), None)
    content = json.loads((model / "config.json").read_text())
    del content["problem_type"]
    (model / "config.json").write_text(json.dumps(content))
    run(model, "--do_predict --test_file x.csv --label_column none")
    rows = Path("out/predictions/x.tsv").read_text().splitlines()[1:]
    assert len(rows) == 12 and all(np.isfinite(float(row.split("\t")[1])) for row in rows)


def test_too_few_names_only_stop_what_needs_them(run, tmp_path):
    names = {"0": "a", "1": "b"}
    model = rename_classes(tiny.write_model(tmp_path / "m", ("a", "b", "c")), names)
    with pytest.raises(WeightsError, match="id2label names 2 classes, but the classifier"):
        run(model, "--do_predict --test_file x.csv --label_column none")
    run(model, "--do_train --train_file x.csv --max_steps 2 --overwrite_output_dir")
    assert Path("out/model_2/manifest.json").is_file()
