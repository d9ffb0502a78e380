"""The speed benchmarks' driver: what it is asked for, turns, and what is made of the figures. No
timing is checked here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.suite import __main__ as suite
from benchmarks.suite import (
    contest,
    inputs,
    limit,
    load,
    options,
    preparing,
    results,
    rows,
    speed,
    table,
    whole,
)
from benchmarks.suite.contest import Contestant, Job
from benchmarks.suite.options import Mistake, Options
from benchmarks.suite.table import Target

ALL = Options(options.NAMES, 3, 40, options.TASKS, (), quick=False)
WORKER = """
import os, pathlib, sys, time
from benchmarks.suite import protocol

def build(spec):
    print("a library says something on stdout")
    if spec.get("fails"):
        sys.exit("no such model")
    turns = pathlib.Path(spec["turns"])
    pathlib.Path(spec["own"]).write_text(str(os.getpid()))

    def block(number):
        with turns.open("a") as file:
            file.write(spec["name"] + str(number) + " ")
        other = pathlib.Path(spec["other"]).read_text()
        state = pathlib.Path("/proc", other, "stat").read_text().rpartition(")")[2].split()[0]
        return {"seconds": 0.5, "value": number, "other": state}

    return block

protocol.serve(build)
"""


@pytest.fixture
def worker(tmp_path) -> Path:
    path = tmp_path / "worker.py"
    path.write_text(WORKER)
    return path


def test_names_and_variables():
    found = options.parse([], {})
    assert (found.names, found.rounds, found.steps, found.rows) == (options.NAMES, 3, 40, 1280)
    found = options.parse(["limit", "training"], {"QUICK": "1", "TASKS": "MRPC", "PEERS": "onnx a"})
    assert (found.names, found.tasks) == (("training", "limit"), ("MRPC",))
    assert (found.peers, found.quick, found.rounds) == (("onnx", "a"), True, 1)
    assert found.results != ALL.results, "a trial never overwrites a measurement"
    assert options.parse([], {"QUICK": "1", "STEPS": "7", "ROUNDS": "2"}).steps == 7
    assert not options.parse([], {"QUICK": "0"}).quick


@pytest.mark.parametrize(
    ("argv", "environ", "said"),
    [
        (["speed"], {}, "speed"),
        ([], {"ROUNDS": "0"}, "ROUNDS"),
        ([], {"STEPS": "many"}, "many"),
        ([], {"TASKS": "SST2"}, "SST2"),
    ],
)
def test_mistakes_are_named(argv, environ, said):
    with pytest.raises(Mistake, match=said):
        options.parse(argv, environ)


def test_what_is_not_here_is_told_before_anything_begins(monkeypatch, tmp_path):
    asked = options.parse(["limit", "pretraining"], {})
    with pytest.raises(Mistake, match="all-minilm-l6-v2 has no weights"):
        suite.check(asked)
    monkeypatch.setattr(inputs, "weights", lambda: tmp_path)
    monkeypatch.delenv(options.SHARDS, raising=False)
    with pytest.raises(Mistake, match=options.SHARDS):
        suite.check(asked)
    monkeypatch.setenv(options.SHARDS, str(tmp_path))
    suite.check(asked)
    with pytest.raises(Mistake, match="GLUE_DATA_DIR"):
        suite.check(ALL)


@pytest.mark.parametrize(("word", "code", "said"), [("--help", 0, "ROUNDS"), ("speed", 2, "error")])
def test_the_command(word, code, said):
    command = ["bash", str(options.ROOT / "benchmarks" / "run.sh"), word]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == code and said in done.stdout + done.stderr


def test_everyone_has_a_turn_while_the_others_are_stopped(worker, tmp_path):
    def one(name: str, other: str) -> Contestant:
        spec = {"name": name, "turns": str(tmp_path / "turns")}
        spec |= {"own": str(tmp_path / name), "other": str(tmp_path / other)}
        return Contestant(name, name.upper(), str(worker), spec, Path(sys.executable))

    job = Job("j", "rows/s", True, {}, {}, {})
    contest.rounds(job, [one("a", "b"), one("b", "a")], Options((), 2, 1, (), (), True), tmp_path)
    assert (tmp_path / "turns").read_text() == "a0 b0 b1 a1 "
    assert [block["value"] for block in job.blocks["b"]] == [0, 1]
    assert {block["other"] for several in job.blocks.values() for block in several} == {"T"}
    assert {"others", "load_before", "cpu_seconds"} <= job.blocks["a"][0].keys()
    assert job.labels == {"a": "A", "b": "B"}
    for name in "ab":
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / name).read_text()), 0)


def test_the_rows_of_the_memory_benchmark(tmp_path, monkeypatch):
    source, target = tmp_path / "SST-2", tmp_path / "drawn"
    source.mkdir()
    target.mkdir()
    lines = [f"{'word ' * (i % 50)}{i}\t{i % 2}" for i in range(200)]
    (source / "train.tsv").write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    (source / "dev.tsv").write_text("sentence\tlabel\none\t1\n")
    monkeypatch.setenv("GLUE_DATA_DIR", str(tmp_path))
    inputs.write_sst2(40, target)
    head, *drawn = (target / "train.tsv").read_text().rstrip("\n").split("\n")
    assert head == "sentence\tlabel" and len(set(drawn)) == 40 and set(drawn) <= set(lines)
    assert {lines[i] for i in (49, 99, 149, 199)} <= set(drawn)  # the longest
    assert (target / "dev.tsv").read_text().endswith("one\t1\n")


def test_a_contestant_that_cannot_start_says_why(worker, tmp_path):
    one = Contestant("a", "A", str(worker), {"fails": True}, Path(sys.executable))
    with pytest.raises(RuntimeError, match="a ended:\n(.|\n)*no such model"):
        contest.rounds(Job("j", "", True, {}, {}, {}), [one], ALL, tmp_path)


def test_the_users_thread_settings_reach_nobody(monkeypatch):
    monkeypatch.setenv("KMP_BLOCKTIME", "infinite")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert contest.environment(2)["OMP_NUM_THREADS"] == "2"
    assert not {"KMP_BLOCKTIME", "OMP_NUM_THREADS"} & contest.environment(None).keys()


def test_time_that_others_used():
    # user nice system idle iowait irq softirq steal guest guest_nice, in ticks
    text = "cpu  100 20 30 9999 7777 1 2 50 40 3\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
    ticks = load._busy(text) * os.sysconf("SC_CLK_TCK")
    assert round(ticks) == 100 + 20 + 30 + 1 + 2 + 50
    assert load.of_process(os.getpid()) > 0


def test_rows_and_batches_come_back_as_they_were_written(tmp_path, monkeypatch):
    import numpy as np

    (tmp_path / "MRPC").mkdir()
    header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    lines = [f"{i % 2}\t1\t2\tfirst {i}\tsecond {i}\n" for i in range(20)]
    (tmp_path / "MRPC" / "train.tsv").write_text(header + "".join(lines))
    monkeypatch.setenv("GLUE_DATA_DIR", str(tmp_path))
    path = tmp_path / "rows.json"
    assert inputs.write_rows("MRPC", "train", 6, path) == 6
    found = rows.read(str(path))
    for a, b, label in zip(found.texts_a, found.texts_b, found.labels, strict=True):
        number = int(a.split()[1])
        assert b == f"second {number}" and label == number % 2
    assert len(set(found.texts_a)) == 6 and found.names == ["not_equivalent", "equivalent"]
    assert inputs.write_rows("MRPC", "train", 99, path) == 20

    made = {f"{i}/x": np.full(2, i) for i in range(11)}  # 10 comes behind 9, not behind 1
    np.savez(tmp_path / "b.npz", **made)
    assert [int(one["x"][0]) for one in rows.batches(str(tmp_path / "b.npz"))] == list(range(11))


def block(value: float, **more) -> dict:
    return {"seconds": 1 / value, "value": value, "others": 0.0, "cpu_seconds": 1.0, **more}


def job_of(values: dict[str, list[float]], name="training SST-2", up=True, **about) -> dict:
    blocks = {key: [block(v) for v in several] for key, several in values.items()}
    job = Job(name, "samples/s", up, {"rows": 8}, {key: key for key in values}, blocks)
    said = {"date": "2026-01-01", "time": "T", "machine": "M", "threads": 2, "quick": False}
    said |= {"versions": {"ours": {"a": "1"}, "peers": {"b": "2"}}, **about}
    return results.merged({"jobs": {}}, job, said)["jobs"][name]


def test_ratios_are_of_medians_and_rounds_are_paired():
    job = job_of({"ours": [100, 300, 200], "hf_best": [100, 100, 50]})
    found = table.ratios(Target("training SST-2", "hf_best", 1.2), job)
    assert found == (2.0, 1.0, 4.0)
    assert job["medians"] == {"ours": 200, "hf_best": 100}
    assert table.ratios(Target("training SST-2", "onnx", 1.0), job) is None


def test_of_times_less_is_better_and_of_memory_the_share_counts():
    times = job_of({"ours": [2.0], "hf_documented": [5.0]}, "start cached", up=False)
    target = Target("start cached", "hf_documented", 1.5)
    assert table.ratios(target, times) == (2.5, 2.5, 2.5)
    memory = job_of({"ours": [60.0], "hf_best": [80.0]}, "memory SST-2", up=False)
    line = table._target_line(Target("memory SST-2", "hf_best", 0.8, at_most=True), {**_by(memory)})
    assert "**0.75 ×**" in line and line.endswith("| reached |")
    line = table._target_line(Target("memory SST-2", "hf_best", 0.7, at_most=True), {**_by(memory)})
    assert line.endswith("| missed |")


def _by(job: dict) -> dict:
    return {job["name"]: job}


def test_the_page_says_what_was_reached_and_what_disturbed_it():
    job = job_of({"ours": [90.0, 100.0, 95.0], "hf_documented": [10.0, 10.0, 10.0]})
    page = table.page({"jobs": _by(job)})
    assert "| ≥ 9 × | **9.50 ×** (9.00 to 10.00) | reached |" in page
    assert "No block was disturbed" in page and "| ours | 95 | 90 | 100 | 95 |" in page
    job["blocks"]["ours"][1]["others"] = 0.9
    page = table.page({"jobs": _by(job)})
    assert "In 1 of 6 blocks" in page and "| ours | 95 | 90 | 100* | 95 |" in page


def test_a_job_measured_again_replaces_itself_alone():
    one, two = job_of({"ours": [1.0]}), job_of({"ours": [2.0]}, "limit 32x32")
    job = Job("limit 32x32", "", True, {}, {}, {"ours": [block(3.0)]})
    page = table.page({"jobs": {**_by(two), **_by(one)}})
    assert page.index("## training") < page.index("## limit")
    found = results.merged({"jobs": {**_by(one), **_by(two)}}, job, {"date": "later"})
    assert found["jobs"]["training SST-2"] == one
    assert found["jobs"]["limit 32x32"]["medians"] == {"ours": 3.0}
    json.dumps(found)


def test_products_are_those_of_the_step():
    made = limit.products(batch=4, length=16)
    tokens, h = 64, limit.HIDDEN
    linear = 5 * 12 * h * h * tokens + 2 * h * h * tokens + 10 * h * h * 4  # weights x rows
    attention = 2 * h * (5 * 4 * 16 * 16 + 4 * 16)  # scores and mix, the last layer's for [CLS]
    assert limit.gflop(made) * 1e9 == pytest.approx(2 * 3 * (linear + attention))
    assert len({one.name for one in made}) == len(made)


def test_the_limit_is_the_faster_library_of_each_product():
    made = limit.products(batch=4, length=16)
    slow = {one.name: one.flops / one.count / 1e9 for one in made}  # all at 1 GFLOP/s
    fast = {name: seconds / 2 for name, seconds in slow.items()}
    mixed = {name: (slow, fast)[i % 2][name] for i, name in enumerate(slow)}
    blocks = {"ours_products": [{"products": slow}], "torch_products": [{"products": mixed}]}
    found = limit.best_seconds(blocks)
    assert found == mixed
    reached = limit.shares(limit.gflop(made), made, found)  # a step at 1 GFLOP/s
    assert (reached.rate, reached.of_rate) == (2.0, 0.5)
    assert 1 < reached.own < 2 and reached.of_own == pytest.approx(1 / reached.own)
    rounds = {"ours_products": [{"products": {"p": s}} for s in (3.0, 1.0, 2.0)]}
    assert limit.best_seconds(rounds) == {"p": 2.0}


def test_every_target_has_its_contestants(monkeypatch, tmp_path):
    """All jobs as they are, with nobody at work: no target may name a job or a key that is none."""

    def turns(job, contestants, asked, scratch):
        job.labels |= {one.key: one.label for one in contestants}
        for one in contestants:
            assert (options.ROOT / one.script).is_file(), one.script
            made = {p.name: 1e-3 for p in limit.products(32, one.spec.get("length", 32))}
            more = {"tokens": 5, "logits": [[1.0, 2.0]], "steps": 4, "products": made}
            job.blocks[one.key] = [block(2.0, **more)]
        return job.blocks

    monkeypatch.setattr(contest, "rounds", turns)
    monkeypatch.setattr(contest, "PAUSE", 0)
    monkeypatch.setattr(speed.products, "has_bfloat16_instructions", lambda: True)
    monkeypatch.setattr(inputs, "weights", lambda: tmp_path)
    monkeypatch.setattr(inputs, "write_rows", lambda *given: 7)
    monkeypatch.setattr(inputs, "write_sst2", lambda *given: None)
    monkeypatch.setattr(inputs, "write_pretraining_rows", lambda *given: {})
    monkeypatch.setattr(inputs, "write_model", lambda *given: tmp_path)
    for module in (preparing, whole):
        monkeypatch.setattr(module, "folder", lambda name: tmp_path)
    monkeypatch.setattr(whole, "_forget_the_disk", lambda: "")
    for name in ("_until", "_seconds", "_peak"):
        monkeypatch.setattr(whole, name, lambda *given: {"seconds": 1.0, "peak_mib": 9.0})
    monkeypatch.setattr(results, "_peers", lambda: {})
    monkeypatch.setattr(Options, "results", tmp_path / "results")
    for job in suite.jobs(ALL, tmp_path):
        path = results.keep(job, ALL)
    page = path.read_text()
    jobs = json.loads(path.with_suffix(".json").read_text())["jobs"]
    lines = [table._target_line(target, jobs) for target in table.TARGETS]
    assert all(lines) and all(line in page for line in lines)
    assert page.count("| limit 32x") == 4
    assert speed.SAME < 1e-3 and "from ours" not in page
