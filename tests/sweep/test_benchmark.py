"""`bert-paddle glue-benchmark`: all tasks with a tiny model, and its bookkeeping with invented
results. The runs are called in this process."""

import csv
import json
import re
import shlex
import shutil
import statistics
import zipfile
from pathlib import Path

import glue_files
import pytest
import tiny
import tiny_gpt2

from bert_paddle import __main__ as program
from bert_paddle import api, cli, submission
from bert_paddle.cli.compare import CompareArgs
from bert_paddle.common import flags
from bert_paddle.common.errors import (
    DataError,
    FlagError,
    Interrupted,
    OutputError,
    RunError,
    WeightsError,
)
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args
from bert_paddle.glue.data import download
from bert_paddle.glue.tasks import TASKS
from bert_paddle.sweep import child_processes
from bert_paddle.sweep.benchmark import recipes, scores
from bert_paddle.sweep.benchmark.args import GLUE_TASKS, BenchmarkArgs
from bert_paddle.training.output_lock import lock_output_dir

NINE = {"CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI", "QNLI", "RTE", "WNLI"}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder with the tiny model `m` and the data `glue`."""
    folder = tmp_path_factory.mktemp("benchmark")
    tiny.write_encoder(folder / "m", max_position_embeddings=128)
    glue_files.write_glue(folder / "glue")
    return folder


@pytest.fixture
def go(files, tmp_path, monkeypatch):
    """Run the command in tmp_path; `go.ran` lists the flags of the runs that it has started,
    `go.run` is what a run does: returns its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BERT_PADDLE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GLUE_DATA_DIR", raising=False)

    def call(*words: str, model: str | Path = files / "m", data: Path = files / "glue") -> None:
        base = ["--model_name_or_path", str(model), "--output_dir", "out", "--data_dir", str(data)]
        program.run(["glue-benchmark", *base, "--report", "0", *words])

    def in_this_process(children, slots, on_start, on_exit):
        assert slots == [{}]  # one after another
        for child in children:
            on_start(child)
            args = parse_args(child.command[child.command.index("glue") + 1 :])
            call.ran.append(args)
            code = call.run(args)
            on_exit(child, code, "error: it failed" if code else "")
            if code > 128:
                return code - 128
        return None

    monkeypatch.setattr(child_processes, "run_children", in_this_process)
    call.ran, call.run = [], invented
    call.model, call.data = files / "m", files / "glue"
    return call


def real(args) -> int:
    finetune.run(args)
    return 0


def invented(args) -> int:
    """Results that depend on the seed, official row counts, and predictions for the server."""
    task, folder = TASKS[args.task_name], Path(args.output_dir)
    results = {"task": task.name, "data": "glue", "eval_model": "model_7", "best_step": 7}
    if task.train:
        results |= {"train_samples": task.train.rows, "train_runtime": 90.0}
    for dev in task.dev_sets:
        results[f"eval_samples{dev.suffix}"] = dev.rows
    for key in scores.metric_keys(task):
        results |= {key: 0.5 + min(args.seed, 4) / 10, f"{key}_ci95": [0.4, 0.7]}
    if args.do_predict:
        (folder / "predictions").mkdir(exist_ok=True)
        for test_set in task.test_sets:
            file = submission.SUBMISSION_FILES[test_set.submission]
            content = submission.fill_missing_file(file, None, lambda line: None)
            (folder / "predictions" / file.name).write_bytes(content)
            results[f"predictions_{file.name}"] = "glue"
    (folder / "all_results.json").write_text(json.dumps(results))
    info = {"settings": args.as_dict(), "finished": "now", "data": "glue", "rows": {}}
    (folder / "run.json").write_text(json.dumps(info))
    return 0


def rows() -> dict[str, dict[str, str]]:
    lines = Path("out/benchmark.csv").read_text().splitlines()
    return {f"{row['task']} {row['metric']}": row for row in csv.DictReader(lines)}


def test_tasks_of_every_kind_with_a_tiny_model(go, files, capsys):
    go.run = real
    given = ["--max_steps", "2", "--seed", "1", "--max_seq_length", "16", "--from_mnli"]
    given += ["--tasks", "CoLA,MRPC,STS-B,MNLI"]
    go(*given)
    assert [args.task_name for args in go.ran] == ["MNLI", "CoLA", "MRPC", "STS-B", "AX"]
    assert {args.max_seq_length for args in go.ran} == {16}  # the recipe's is 128
    models = {args.task_name: Path(args.model_name_or_path).name for args in go.ran}
    from_mnli = {"MRPC", "STS-B", "AX"}
    assert {name for name, model in models.items() if model == "model_2"} == from_mnli
    assert Path("out/AX/seed_1/predictions/AX.tsv").is_file()
    table = rows()
    results = json.loads(Path("out/MRPC/seed_1/all_results.json").read_text())
    row = table["MRPC accuracy"]
    assert float(row["mean"]) == pytest.approx(100 * results["eval_accuracy"])
    ends = [float(row["ci95_low"]), float(row["ci95_high"])]
    assert ends == pytest.approx([100 * end for end in results["eval_accuracy_ci95"]])
    assert {"MNLI accuracy", "MNLI accuracy_mm", "STS-B pearson", "STS-B spearmanr"} <= set(table)
    page = Path("out/benchmark.html").read_text()
    assert "<script" not in page and "http" not in page.split("</style>")[1].split("<svg")[0]
    assert "subset: 6 of 3668 training rows, 6 of 408 dev rows" in page
    assert "Not the complete official data" in page and "MRPC and STS-B start from MNLI" in page
    said = capsys.readouterr()
    assert "no submission: " in said.err and "rows, not 9796; and " in said.err
    assert "MNLI, accuracy matched / accuracy mismatched: " in said.out
    go(*given)
    assert len(go.ran) == 5 and "[5/5] AX, seed 1: already finished" in capsys.readouterr().out
    with pytest.raises(OutputError, match="--max_steps was 2 and is 3; and 4 more"):
        go(*given[2:], "--max_steps", "3")
    other = tiny.write_encoder(Path("other"), max_position_embeddings=128)
    with pytest.raises(OutputError, match="--model_name_or_path was .*; give those settings"):
        go(*given, model=other)
    assert len(go.ran) == 5


def test_seeds_give_means_intervals_and_a_submission_of_the_best(go, capsys):
    go("--seeds", "1,2,3")
    assert len(go.ran) == 30
    row = rows()["CoLA matthews_correlation"]
    assert float(row["mean"]) == pytest.approx(70) and float(row["std"]) == pytest.approx(10)
    reach = 4.302653 * 10 / 3**0.5
    assert float(row["ci95_high"]) == pytest.approx(70 + reach, abs=1e-4)
    go("--seeds", "3,4", "--tasks", "RTE", "--output_dir", "two", "--do_predict", "0")
    page = Path("two/benchmark.md").read_text()
    assert "85.00 ± 7.07 | 21.47 to 100.00 |" in page  # no accuracy is above 100 %
    assert len(go.ran) == 32
    go.ran = go.ran[:30]
    text = Path("out/benchmark.md").read_text()
    average = "| GLUE average | mean of the tasks | 70.00 ± 10.00 | 45.16 to 94.84 |"
    assert average in text
    assert "| MRPC | accuracy / F1 | 70.00 ± 10.00 / 70.00 ± 10.00 |" in text
    assert " | 3 | 4 min | official | " in text and "88.24 / 91.67" in text
    with zipfile.ZipFile("out/submission.zip") as archive:
        assert set(archive.namelist()) == set(submission.SUBMISSION_FILES)
    assert "submission: out/submission.zip (seeds: CoLA 3, SST-2 3" in capsys.readouterr().out
    found = api.glue_benchmark(go.model, "out", data_dir=go.data, seeds=[1, 2, 3], report=False)
    assert found["average"] == found["average_without_wnli"] == pytest.approx(70)
    assert found["tasks"]["MRPC"] == pytest.approx({"accuracy": 70, "f1": 70})
    with pytest.raises(FlagError, match="recipes is not a flag of bert-paddle glue-benchmark"):
        api.glue_benchmark(go.model, "out", recipes="paddlenlp")
    go("--seeds", "1,2,3,4", "--tasks", "rte,ColA")  # grows, of two tasks
    assert len(go.ran) == 32 and "GLUE average," not in Path("out/benchmark.csv").read_text()
    assert not Path("out/submission.zip").exists()


def test_a_failure_is_shown_and_the_rest_goes_on(go, capsys):
    go.run = lambda args: 2 if args.task_name in ("MNLI", "WNLI") else invented(args)
    with pytest.raises(RunError, match=r"6 of 10 runs failed \(MNLI/seed_42, MRPC/seed_42.*same"):
        go("--from_mnli")
    assert {args.task_name for args in go.ran} == NINE - {"MRPC", "STS-B", "RTE"}
    text = Path("out/benchmark.md").read_text()
    assert "| RTE, seed 42 | not run: its MNLI run failed, from whose model it starts |" in text
    assert "| WNLI, seed 42 | exit code 2: it failed | `WNLI/seed_42/log.txt` |" in text
    assert "without a score: MRPC, STS-B, MNLI, RTE, WNLI" in text
    assert "Failed: " in Path("out/benchmark.html").read_text()
    go.ran.clear()
    go.run = invented
    go("--from_mnli")
    assert {args.task_name for args in go.ran} == {"MNLI", "WNLI", "MRPC", "STS-B", "RTE", "AX"}
    # Without its results a run is made again.
    Path("out/CoLA/seed_42/all_results.json").write_text("")
    shutil.rmtree("out/CoLA/seed_42/predictions")
    go.ran.clear()
    go("--from_mnli")
    assert [args.task_name for args in go.ran] == ["CoLA"]


def test_after_a_signal_the_same_command_goes_on(go):
    flags = ("--tasks", "CoLA,MNLI,RTE", "--from_mnli")
    for name, finished in (("CoLA", 1), ("RTE", 2)):
        go.run = lambda args, name=name: 143 if args.task_name == name else invented(args)
        message = f"SIGTERM: stopped with {finished} of 4 runs .*same command resumes the benchmark"
        with pytest.raises(Interrupted, match=message):
            go(*flags)
        assert "## Failed" not in Path("out/benchmark.md").read_text()
    go.run = invented
    go(*flags)
    assert [args.task_name for args in go.ran] == ["MNLI", "CoLA", "CoLA", "RTE", "RTE", "AX"]
    assert go.ran[-2].model_name_or_path == "out/MNLI/seed_42/model_7"
    assert {args.resume_from_checkpoint for args in go.ran[:-1]} == {"auto"}
    assert "RTE starts from MNLI's model." in Path("out/benchmark.md").read_text()


def test_runs_from_another_model_are_not_those_from_mnli(go):
    go("--tasks", "MNLI,RTE")
    with pytest.raises(OutputError, match="RTE/seed_42: --model_name_or_path was '.*/m' and"):
        go("--tasks", "MNLI,RTE", "--from_mnli")
    go("--tasks", "MNLI,RTE", "--from_mnli", "--output_dir", "other")
    ran = len(go.ran)
    go("--tasks", "MNLI,RTE", "--from_mnli", "--output_dir", str(Path("other").resolve()))
    assert len(go.ran) == ran
    with pytest.raises(OutputError, match="--model_name_or_path was 'other/MNLI/seed_42/model_7'"):
        go("--tasks", "MNLI,RTE", "--output_dir", "other")


def test_a_dry_run_prints_the_commands_only(go, capsys):
    go("--dry_run", "--tasks", "MNLI,RTE", "--from_mnli", "--batch_size", "8", "--n_gpu", "2")
    lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    runs = [parse_args(words[words.index("glue") + 1 :]) for words in lines]
    assert [run.task_name for run in runs] == ["MNLI", "RTE", "AX"]
    assert {(run.batch_size, run.n_gpu) for run in runs} == {(8, 2)}
    assert runs[1].model_name_or_path == "out/MNLI/seed_42/model_<last step>"
    assert not go.ran and not Path("out").exists()


def test_flags_about_classes_are_not_for_scores(go, capsys):
    go("--tasks", "RTE,STS-B", "--class_weights", "balanced", "--label_smoothing_factor", "0.1")
    assert [args.class_weights for args in go.ran] == [None, "balanced"]
    said = "STS-B: without --class_weights, --label_smoothing_factor: its labels are scores"
    assert said in capsys.readouterr().err
    Path("weights.yaml").write_text("all: {class_weights: balanced}\n")
    go("--tasks", "STS-B,MNLI", "--recipe", "weights.yaml", "--output_dir", "other")
    weights = {args.task_name: args.class_weights for args in go.ran[2:]}
    assert weights == {"STS-B": None, "MNLI": "balanced", "AX": None}
    with pytest.raises(FlagError, match="--class_weights: only for one class per row"):
        go("--tasks", "STS-B", "--class_weights", "balanced")
    with pytest.raises(FlagError, match=r"2 weights for 3 classes .*\(MNLI\)"):
        go("--tasks", "RTE,STS-B,MNLI", "--class_weights", "1,2")


def test_mistakes_are_told_before_anything_runs(go, files, monkeypatch):
    Path("mine.yaml").write_text(
        "all: {batch_size: 8, batch_sise: 8, seed: 3}\nMRCP: {batch_size: 4}\nRTE: 3\n"
        "CoLA: {learning_rate: fast}\n"
    )
    mistakes = [
        ("--tasks CoLA,Kola", "--tasks: unknown task 'Kola'; did you mean CoLA"),
        ("--tasks AX", "--tasks: AX has no training set"),
        ("--tasks RTE --from_mnli", "--from_mnli needs the model of MNLI"),
        ("--recipe hugingface", "did you mean the recipe hugging_face"),
        ("--recipe mine.yaml", "mine.yaml:1: batch_sise is not a flag of run_glue.py"),
        ("--recipe mine.yaml", "mine.yaml:1: seed is not for a recipe"),
        ("--recipe mine.yaml", "mine.yaml:2: unknown task 'MRCP'; did you mean MRPC"),
        ("--recipe mine.yaml", "mine.yaml:3: RTE takes flags"),
        ("--recipe mine.yaml", r"--learning_rate must be a number.*\(CoLA\)"),
        ("--task_name RTE", "--task_name: give --tasks"),
        ("--train_file a.csv", "data files of your own are for bert-paddle glue"),
        ("--do_eval 0", "--do_eval 0: every run of a benchmark trains and evaluates"),
        ("--seeds 1,x", "--seeds: each must be"),
        ("--seeds 1,1", "--seeds: 1 is given twice"),
    ]
    for words, message in mistakes:
        with pytest.raises(FlagError, match=message):
            go(*words.split())
    with pytest.raises(WeightsError, match="nowhere"):
        go(model="nowhere/at/all")
    with pytest.raises(FlagError, match="9: the model has 2 layers; --reinit_layers 3: the model"):
        go("--freeze_layers", "9", "--reinit_layers", "3")
    Path("deep.yaml").write_text("all: {freeze_layers: 2}\nCoLA: {reinit_layers: 1}\n")
    with pytest.raises(FlagError, match=r"2 layers, and one that is drawn .* trained \(CoLA\)"):
        go("--recipe", "deep.yaml")
    with pytest.raises(WeightsError, match="the model is 'gpt2', but only bert is supported"):
        go(model=tiny_gpt2.HF_DIR)

    def no_network(task, *rest):
        raise DataError(f"{task.name}: not found")

    monkeypatch.setattr(download, "ensure_downloaded", no_network)
    few = glue_files.write_glue(Path("few"), "RTE", "WNLI")
    with pytest.raises(DataError, match="CoLA: not found; SST-2: not found;.*QNLI: not found"):
        go(data=few)
    (few / "RTE" / "test.tsv").unlink()
    with pytest.raises(DataError, match=r"RTE: not found \(--do_predict 0 does without"):
        go("--tasks", "RTE,WNLI", "--do_predict", data=few)
    assert not go.ran and not Path("out").exists()
    go("--tasks", "RTE,WNLI", data=few)
    assert [args.do_predict for args in go.ran] == [False, True]


def test_the_folder_of_another_or_of_a_running_benchmark_is_refused(go, files):
    with lock_output_dir(Path("out")):
        with pytest.raises(OutputError, match="out is in use by another run"):
            go("--tasks", "RTE")
    Path("out/benchmark.md").write_text("my notes\n")
    with pytest.raises(OutputError, match="benchmark.md: in the way of this run's files"):
        go("--tasks", "RTE")
    Path("out/benchmark.md").unlink()
    Path("out/metrics.jsonl").write_text("{}\n")
    with pytest.raises(OutputError, match="out is itself a run's folder"):
        go("--tasks", "RTE")
    assert not go.ran


def test_the_average_is_glues():
    # BERT-large's row of the leaderboard, whose score is 80.5 (Devlin et al. 2018).
    leaderboard = {
        "CoLA": [60.5],
        "SST-2": [94.9],
        "MRPC": [85.4, 89.3],
        "STS-B": [87.6, 86.5],
        "QQP": [89.3, 72.1],
        "MNLI": [86.7, 85.9],
        "QNLI": [92.7],
        "RTE": [70.1],
        "WNLI": [65.1],
    }
    of_tasks = {name: statistics.fmean(values) for name, values in leaderboard.items()}
    assert round(scores.glue_average(of_tasks, with_wnli=True) or 0, 1) == 80.5
    del of_tasks["WNLI"]
    assert scores.glue_average(of_tasks, with_wnli=True) is None
    assert scores.glue_average(of_tasks, with_wnli=False) == pytest.approx(82.45, abs=0.01)


def test_the_shipped_recipes_and_published_rows():
    assert set(GLUE_TASKS) == NINE and recipes.DEFAULT in recipes.RECIPES
    for name in recipes.RECIPES:
        by_task, problems = recipes.read_recipe(name, GLUE_TASKS)
        assert not problems and set(by_task) == NINE
        for settings in by_task.values():
            texts = [f"--{flag}={text}" for flag, text in settings.items()]
            args = parse_args(
                ["--task_name=RTE", "--model_name_or_path=m", "--output_dir=o", *texts]
            )
            assert (args.batch_size, args.max_seq_length) == (32, 128)
    epochs = recipes.read_recipe("hugging_face", ["MRPC", "RTE"])[0]
    assert [epochs[name]["num_train_epochs"] for name in epochs] == ["5", "3"]
    rows = scores.published()
    row = rows["bert-base-uncased (PaddleNLP, eight tasks)"]
    assert row["CoLA"] == "59.56" and len(row) == 8
    assert scores.published_average(row, with_wnli=True) is None
    # The mean of 59.56, 92.66, 89.955, 88.6, 88.965, 84.625, 91.71, 71.12.
    assert scores.published_average(row, with_wnli=False) == pytest.approx(83.399, abs=0.001)
    for row in rows.values():
        assert set(row) <= NINE


@pytest.mark.parametrize("name", ["BENCHMARK.md", "BENCHMARK_zh.md"])
def test_the_document_is_about_what_is_there(tmp_path, name):
    text = (Path(__file__).parents[2] / "docs" / name).read_text(encoding="utf-8")
    for line in "".join(re.findall(r"```shell\n(.*?)```", text, re.DOTALL)).splitlines():
        words = shlex.split(line)
        assert words[0] == "bert-paddle" and words[1] in cli.COMMANDS
        if words[1] == "glue-benchmark":
            args = flags.parse(BenchmarkArgs, "", words[2:])
            assert args.task_names == list(GLUE_TASKS) and args.seed_list == [1, 2, 3]
    (recipe,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "recipe.yaml").write_text(recipe)
    by_task, problems = recipes.read_recipe(str(tmp_path / "recipe.yaml"), ["CoLA", "RTE"])
    assert not problems and by_task["CoLA"]["num_train_epochs"] == "4"
    names = {s for f in flags.declared_flags(BenchmarkArgs) for s in flags.spellings(f)}
    names |= {s for f in flags.declared_flags(CompareArgs) for s in flags.spellings(f)}
    assert set(re.findall(r"--[a-z_]+", text)) <= names
