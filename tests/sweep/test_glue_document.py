"""docs/GLUE.md and docs/SWEEPS.md, in both languages: their commands run, their tables are true."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import glue_files
import pytest
import tiny
import tiny_gpt2

from bert_paddle import __main__ as program
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args
from bert_paddle.glue.tasks import TASKS
from bert_paddle.sweep import seeds, sweep
from bert_paddle.sweep.benchmark import scores

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FAKE = (sys.executable, str(Path(__file__).parents[1] / "support" / "fake_run.py"))
BOTH = ["", "_zh"]


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def commands(name: str) -> list[str]:
    blocks = re.findall(r"^```shell\n(.*?)^```", text_of(name), re.MULTILINE | re.DOTALL)
    return "".join(blocks).splitlines()


def rows_of(name: str, task: str) -> list[list[str]]:
    """The cells of every table's row that begins with a task's name."""
    lines = [line for line in text_of(name).splitlines() if line.startswith(f"| {task} |")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_commands_of_glue_run_as_they_stand(tmp_path, monkeypatch):
    home, data = tmp_path / "home", tmp_path / "glue"
    tiny.write_encoder(home / "models" / "bert-base-uncased", max_position_embeddings=128)
    glue_files.write_glue(data, "RTE", "MNLI", "AX")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BERT_PADDLE_HOME", str(home))
    monkeypatch.setenv("GLUE_DATA_DIR", str(data))
    lines = commands("GLUE.md")
    assert len(lines) == 4
    for line in lines:
        words = shlex.split(line)
        if words[0] == "bash":  # tests/scripts/test_recipes.py runs the script
            assert (ROOT / words[1]).is_file() and parse_args([*words[2:], *NEEDED]).do_predict
            continue
        assert words[:2] == ["python", "run_glue.py"]
        flags_given = [str(next(Path().glob(word))) if "*" in word else word for word in words[2:]]
        finetune.run(parse_args(flags_given))
    for made in ("RTE/predictions/RTE", "MNLI/predictions/MNLI-mm", "AX/predictions/AX"):
        assert (tmp_path / "runs" / f"{made}.tsv").is_file()
    results = json.loads((tmp_path / "runs" / "MNLI" / "all_results.json").read_text())
    assert {"eval_accuracy", "eval_accuracy_mm"} <= set(results)


NEEDED = "--task_name rte --model_name_or_path m --output_dir o".split()


def test_the_commands_of_sweeps_run_as_they_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    monkeypatch.setattr(sweep, "program_command", lambda plan: FAKE)
    monkeypatch.setenv("BERT_PADDLE_HOME", str(tmp_path / "home"))
    models = tmp_path / "home" / "models"
    tiny.write_encoder(models / "bert-base-uncased", max_position_embeddings=128)
    shutil.copytree(tiny_gpt2.HF_DIR, models / "gpt2")
    ran = []
    for line in commands("SWEEPS.md"):
        words = shlex.split(line)
        if words[0] == "python":
            seeds.run_seeds(parse_args(words[2:]))
        else:
            assert words[0] == "bert-paddle"
            # Of 18 runs one batch size is enough here.
            more = ["batch_size=16", "num_train_epochs=2"] if "bert_paper" in words else []
            program.run([*words[1 : words.index("--")], *more, *words[words.index("--") :]])
        ran.append(words[0])
    assert ran == ["python", "bert-paddle", "bert-paddle", "bert-paddle"]
    runs = {
        p.parent.name: len(list(p.parent.glob("*/log.txt"))) for p in Path("runs").glob("*/s*.md")
    }
    assert runs == {"mrpc": 3, "grid": 8, "paper": 3, "rates": 9}
    keys = set(json.loads(Path("runs/mrpc/all_results.json").read_text()))
    for key in keys - {"eval_loss", "eval_loss_std", "eval_loss_ci95"}:
        assert f"`{key}`" in text_of("SWEEPS.md"), key


@pytest.mark.parametrize("name", ["BENCHMARK", "GLUE", "SWEEPS"])
def test_both_languages_have_the_same_commands_and_figures(name):
    english, chinese = f"{name}.md", f"{name}_zh.md"
    assert commands(english) == commands(chinese)
    assert text_of(english).count("\n## ") == text_of(chinese).count("\n## ")
    for task in TASKS:
        figures = [
            [re.findall(r"[\d.]+", " ".join(row[2:])) for row in rows_of(doc, task)]
            for doc in (english, chinese)
        ]
        assert figures[0] == figures[1], task


@pytest.mark.parametrize("language", BOTH)
@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_files_and_rows_are_those_of_the_tasks(task, language):
    what, files, *rest = rows_of(f"GLUE{language}.md", task.name)
    if task.labels:
        assert what[2] == ", ".join(task.labels)
    sums = [" + ".join(str(one.rows) for one in sets) for sets in (task.dev_sets, task.test_sets)]
    train = str(task.train.rows) if task.train else "–"
    predictions = ", ".join(test.submission for test in task.test_sets)
    assert files[1:] == [", ".join(task.files), train, sums[0] or "–", sums[1], predictions]


@pytest.mark.parametrize("language", BOTH)
def test_figures_are_those_published_and_those_measured(language):
    published = scores.published()
    name = f"GLUE{language}.md"
    header = next(line for line in text_of(name).splitlines() if "(PaddleNLP example) |" in line)
    models = [cell.strip() for cell in header.strip("|").split("|")][1:-2]
    assert models == list(published)
    for task in (one for one in TASKS if one != "AX"):
        cells = rows_of(name, task)[-1]
        assert cells[1:-2] == [published[model].get(task, "–") for model in models]
        measured = rows_of("RESULTS.md", task)
        if measured:
            assert cells[-2:] == [measured[0][3].strip("*"), measured[1][2]]
        else:
            assert not re.search(r"\d", " ".join(cells[-2:]))
