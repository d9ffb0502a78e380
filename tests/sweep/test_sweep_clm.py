"""Sweeps of run_clm.py: its flags, and runs ranked by perplexity."""

import json

import pytest
import tiny_gpt2

from bert_paddle.cli import sweep as command
from bert_paddle.common.errors import FlagError
from bert_paddle.sweep import grid, plan, run_status, table

BASE = ["--model_name_or_path", "m"]


def planned(folder, *base: str, values=None, seeds=None) -> plan.Plan:
    texts = folder / "texts.txt"
    texts.write_text("\n".join(tiny_gpt2.sentences(30)))
    rates = values or {"learning_rate": ["1e-4", "5e-4", "0.0005"]}
    flags = [*BASE, "--train_file", str(texts), *base]
    return plan.plan_grid(folder / "out", rates, flags, seeds, "clm")


def test_the_flags_are_those_of_run_clm(tmp_path):
    values, problems = grid.read_grid(None, ["sample_top_p=0.9,0.95", "task_name=a"], "clm")
    assert values == {"sample_top_p": ["0.9", "0.95"]}
    assert len(problems) == 1 and "task_name is not a flag of run_clm.py" in problems[0]
    made = planned(tmp_path, "--packing", seeds="1,2")
    assert [(run.args.learning_rate, run.seed) for run in made.runs] == [
        *((1e-4, 1), (1e-4, 2), (5e-4, 1), (5e-4, 2))
    ]
    assert made.duplicates == 1 and made.runs[0].args.packing
    argv = made.runs[0].argv(overwrite=False)
    assert "--packing=1" in argv and "--seed=1" in argv and "--learning_rate=0.0001" in argv
    with pytest.raises(FlagError, match="--packing_across_texts needs --packing"):
        planned(tmp_path, "--packing_across_texts")


def test_the_lowest_perplexity_is_the_best(tmp_path):
    made = planned(tmp_path)
    outcomes = []
    for run, perplexity in zip(made.runs, (90.0, 40.0), strict=True):
        results = {"eval_perplexity": perplexity, "eval_loss": 1.0, "eval_tokens": 77}
        outcomes.append(table.RunOutcome(run, results))
    summary = table.summarize(made, outcomes)
    assert summary.best is not None and summary.best.values == {"learning_rate": "0.0005"}
    assert table.ranking_note(summary) == "Sorted by perplexity, the lowest first."
    assert summary.keys == ["eval_perplexity", "eval_loss"]
    info = {"settings": made.runs[0].args.as_dict(), "data": "own", "finished": "now"}
    made.runs[0].folder.mkdir(parents=True)
    (made.runs[0].folder / "run.json").write_text(json.dumps(info))
    (made.runs[0].folder / "all_results.json").write_text('{"eval_perplexity": 90.0}')
    assert run_status.read_status(made.runs[0]).results == {"eval_perplexity": 90.0}


@pytest.mark.slow
def test_learning_rates_are_swept_from_the_command_line(tmp_path, capsys):
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(tiny_gpt2.sentences(30)))
    out = tmp_path / "out"
    flags = f"--model_name_or_path {tiny_gpt2.HF_DIR} --train_file {texts} --max_steps 6 --report 0"
    argv = f"--program clm --output_dir {out} learning_rate=1e-5,3e-3 -- {flags} --n_gpu 0".split()
    command.main(argv)
    assert "Best: learning_rate 0.003" in capsys.readouterr().out
    page = (out / "sweep.md").read_text()
    assert (
        page.startswith(f"# Sweep: {texts}, ") and "| learning_rate | seeds | perplexity |" in page
    )
    command.main(argv)
    assert capsys.readouterr().out.count("already finished") == 2
