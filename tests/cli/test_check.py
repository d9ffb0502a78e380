"""`bert-paddle check`: parts that fail, crash or hang, the facts, the table, the JSON file."""

import json
import os
import textwrap
from pathlib import Path

import pytest

from bert_paddle import __main__
from bert_paddle.cli.selfcheck import check, children, facts, network, table
from bert_paddle.cli.selfcheck.compare import Deviation
from bert_paddle.cli.selfcheck.facts import Fact
from bert_paddle.cli.selfcheck.ways import BY_NAME, Device
from bert_paddle.common.errors import FlagError

LIMIT = 250

# What goes wrong in a part's process, by a word of its command line.
FAULTS = """
import builtins, os, sys

command = " ".join(sys.orig_argv)
original = builtins.__import__

def patched(name, *rest, **named):
    module = original(name, *rest, **named)
    products = sys.modules.get("bert_paddle.models.kernels.products")
    if hasattr(products, "Products"):
        builtins.__import__ = original
        exact = products.Products.multiply

        def multiply(self, a, b, result, **options):
            exact(self, a, b, result, **options)
            if options.get("transpose_a"):  # a weight's gradient
                result.scale_(1.01)
            return result

        products.Products.multiply = multiply
    return module

if "float32, C kernels" in command:
    builtins.__import__ = patched
if "recompute" in command:
    os.abort()
if "sleep" in command:
    import time
    time.sleep(600)
if "run_check" in command:
    sys.exit("error: Paddle says no")
"""


@pytest.fixture
def faults(tmp_path, monkeypatch):
    """Every part's process runs FAULTS when it starts."""
    folder = tmp_path / "faults"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(FAULTS)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_each_failure_is_told_and_the_other_parts_go_on(faults):
    """A gradient scaled by 1.01, a crash, an exit; the last way is right."""
    chosen = ("float32, C kernels", "recompute", "fused AdamW", "float32")
    content, text = check.run("cpu", LIMIT, False, [BY_NAME[name] for name in chosen])
    status = {result["way"]: (result["status"], result["reason"]) for result in content["ways"]}
    assert status == {
        "float32, C kernels": ("FAILED", "the difference is too large: loss, gradient, weight"),
        "recompute": ("FAILED", "killed by SIGABRT"),
        "fused AdamW": ("skipped", "needs a GPU"),
        "float32": ("ok", ""),
    }
    problems = content["problems"]
    assert any(p.startswith("run_check: exit code 1: ") and "says no" in p for p in problems)
    assert "recompute: killed by SIGABRT" in problems
    assert f"result: {len(problems)} thing(s) are wrong" in text
    assert max(map(len, text.splitlines())) <= table.WIDTH


def test_a_right_way_is_ok(forked_python):
    result = check.check_way(BY_NAME["to_static"], Device(), LIMIT)
    assert (result["status"], result["reason"]) == ("ok", ""), result["output"]
    assert result["found"]["gradient"] < result["allowed"]["gradient"]
    assert set(result["records"]) == {"fine-tuning", "pre-training"}


HALF, KERNELS, FLASH = (
    BY_NAME[name] for name in ("bfloat16 O1", "float32, C kernels", "float16 O1, flash attention")
)


@pytest.mark.parametrize(
    ("way", "found", "output", "reason"),
    [
        (KERNELS, Deviation(1e-6, 1e-6, 1e-4), "", ""),
        (KERNELS, Deviation(1e-6, 1e-6, 1e-3), "", "the difference is too large: weight"),
        (KERNELS, Deviation(0, float("nan"), 0), "", "the difference is too large: gradient"),
        (
            KERNELS,
            Deviation(1e-6, 1e-6, 1e-4),
            "encoder: PaddleNLP's layers, slower than our kernels (x)\n",
            "another way was taken: encoder: PaddleNLP's layers, slower than our kernels (x)",
        ),
        (HALF, Deviation(2e-3, 0.02, 0.07), "", ""),
        (
            HALF,
            Deviation(1e-6, 1e-6, 1e-4),
            "",
            "as exact as float32: half precision had no effect",
        ),
        (FLASH, Deviation(2e-4, 1e-3, 5e-3), "", ""),
        (
            FLASH,
            Deviation(0.1, 1e-3, 5e-3),
            "step 1 skipped: its float16 gradients are not finite; the loss scale is now 32768",
            "the difference is too large: loss; the loss scaler skipped a step",
        ),
        (
            FLASH,
            Deviation(2e-4, 1e-3, 5e-3),
            "--flash_attention: Paddle uses an ordinary attention kernel (the GPU is older)",
            "another way was taken: --flash_attention: Paddle uses an ordinary attention kernel "
            "(the GPU is older)",
        ),
    ],
)
def test_what_counts_as_a_mistake(way, found, output, reason):
    assert check._mistake(way, found, output) == reason


def test_a_hanging_part_is_stopped(faults, monkeypatch):
    monkeypatch.setattr(children, "_GRACE", 0.5)
    outcome = children.run_part("facts", "sleep", 1)
    assert outcome.reason == "no result after 1 s" and outcome.seconds < 30


def test_where_a_part_hangs_is_told():
    outcome = children.run_part("facts", "cpu", 0.3)  # too little to import Paddle
    assert outcome.reason.startswith("no result after 0.3 s")
    assert outcome.result is None and "Timeout" in outcome.output


@pytest.mark.parametrize(
    ("code", "output", "reason"),
    [
        (0, "anything", ""),
        (1, "x\nerror: no memory\nlast\n", "exit code 1: no memory"),
        (1, "Traceback\nValueError: bad\n\n", "exit code 1: ValueError: bad"),
        (3, "", "exit code 3"),
        (-11, "...", "killed by SIGSEGV"),
        (-9, "", "killed by SIGKILL (maybe out of memory)"),
        (None, "", "no result after 5 s"),
        (
            1,
            "Timeout (0:00:05)!\n"
            '  File "/a/paddle/x.py", line 1 in f\n'
            '  File "/a/bert_paddle/training/step.py", line 92 in step\n',
            "no result after 5 s, in bert_paddle/training/step.py:92 (step)",
        ),
    ],
)
def test_reasons(code, output, reason):
    assert children._failure(code, output, 5) == reason


def by_name(found):
    return {fact.name: fact for fact in found}


def test_a_folder_that_cannot_be_written_is_off(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BERT_PADDLE_HOME", str(tmp_path / "file" / "home"))
    found = by_name(facts.folder_facts())
    assert found["home"].status == "off" and "set BERT_PADDLE_HOME" in found["home"].value
    assert found["cache"].status == "ok" and found["temporary files"].status != "off"


def test_writing_is_tried_where_the_folder_would_be_made(tmp_path, monkeypatch):
    monkeypatch.setenv("BERT_PADDLE_HOME", str(tmp_path / "a" / "b"))
    assert by_name(facts.folder_facts())["home"].status == "ok"
    assert list(tmp_path.iterdir()) == []


def test_models_and_data_are_found_where_the_programs_look(tmp_path, tiny_dir, monkeypatch):
    import tiny

    monkeypatch.setenv("BERT_PADDLE_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine").symlink_to(tiny_dir)
    (tmp_path / "models" / "empty").mkdir()
    tiny.write_sst2(tmp_path / "data" / "SST-2")
    (tmp_path / "data" / "SST-2" / "DEMO").touch()
    monkeypatch.setenv("GLUE_DATA_DIR", str(tmp_path / "data"))
    found = by_name(facts.folder_facts())
    assert found["models"].value == f"mine in {tmp_path / 'models'}; unusable: empty"
    assert found["models"].status == "note"
    assert found["GLUE data"].value == f"SST-2 (invented) in {tmp_path / 'data'}"
    monkeypatch.setenv("GLUE_DATA_DIR", str(tmp_path / "none"))
    expected = f"none in {tmp_path / 'none'} and {tmp_path / 'glue'}"
    assert by_name(facts.folder_facts())["GLUE data"].value == expected


def test_software_facts(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy:8080")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = by_name(facts.software_facts())
    assert "HTTPS_PROXY" in found["proxies"].value
    assert not any("secret" in fact.value for fact in found.values())
    assert "OMP_NUM_THREADS=3" in found["variables"].value
    assert "numpy " in found["packages"].value and "builds" not in found
    monkeypatch.setenv("CC", "no-such-compiler -O3")
    compiler = by_name(facts.software_facts())["C compiler"]
    assert (compiler.status, compiler.value) == ("note", "no no-such-compiler")
    both = lambda name: "3.3.1"  # noqa: E731
    monkeypatch.setattr("importlib.metadata.version", both)
    assert by_name(facts.software_facts())["builds"].status == "off"


def test_hardware_facts():
    found = by_name(facts.hardware_facts())
    assert f"of {os.cpu_count()}" in found["processor"].value
    assert " GB" in found["memory"].value and found["open files"].value.startswith("up to ")


def test_a_source_of_facts_that_fails_is_told():
    def source():
        yield Fact("first", "1")
        raise OSError("broken")

    assert check._collect(source) == [Fact("first", "1"), Fact("error", "OSError: broken", "off")]


def test_the_network_is_tried_and_never_off():
    urls = {"here": "http://127.0.0.1:9/x", "elsewhere": "http://198.51.100.1/x"}
    found = by_name(network.network_facts(urls, timeout=0.5))
    assert {fact.status for fact in found.values()} == {"note"}
    assert "cannot be reached" in found["here"].value


def test_a_host_that_answers_is_reached(tmp_path):
    import http.server
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200 if self.path == "/there" else 404)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    urls = {"there": f"{address}/there", "missing": f"{address}/missing"}
    found = by_name(network.network_facts(urls))
    server.shutdown()
    assert found["there"].status == "ok" and found["missing"].status == "note"
    assert "HTTP 404" in found["missing"].value


LONG = "a reason of many words that does not fit into the rest of a line of the table " * 3
WAY = {"found": None, "allowed": {"loss": 5e-5, "gradient": 2e-4, "weight": 5e-4}, "reason": ""}
FOUND = {"loss": 1e-6, "gradient": float("inf"), "weight": float("nan")}
SPEED = {
    "steps_per_second": 1234.5,
    "samples_per_second": 1e5,
    "tokens_per_second": 12345678.9,
    "peak_memory": 123e9,
    "tflops": 123.4,
    "share_of_peak": 0.394,
}


def test_the_table_fits_into_100_columns():
    ways = [WAY | {"way": way, "status": "ok", "found": FOUND} for way in BY_NAME]
    ways += [WAY | {"way": "x", "status": "FAILED", "reason": LONG}]
    ways += [WAY | {"way": "x", "status": "FAILED", "reason": LONG, "found": FOUND}]
    speeds = [{"shape": "bert-large, pre-training, 16 x 512, bfloat16", "speed": SPEED}]
    speeds += [{"shape": speeds[0]["shape"], "speed": None, "status": "FAILED", "reason": LONG}]
    section = [Fact("temporary files", LONG, "off"), Fact("empty", ""), Fact("x" * 14, "y" * 300)]
    lines = [*table.fact_lines("title", section), *table.way_lines(ways, 20)]
    lines += [*table.speed_lines(speeds)]
    lines += table.result_lines({"ways": ways, "problems": [LONG, "y"]})
    text = "\n".join(lines)
    assert max(map(len, text.splitlines())) <= 100
    assert "".join(text.split()).count("".join(LONG.split())) == 5
    assert "39%" in text and "[off]" in text


@pytest.fixture
def quick(monkeypatch):
    """The command with an invented result; its arguments."""
    calls = []

    def install(*problems):
        def run(*arguments):
            calls.append(arguments)
            return {"problems": list(problems), "facts": {}}, "the table"

        monkeypatch.setattr(check, "run", run)
        monkeypatch.setattr("sys.argv", ["x"])
        return calls

    return install


@pytest.mark.parametrize(("problems", "code"), [((), 0), (("home: not writable",), 1)])
def test_exit_code_and_file(quick, problems, code, tmp_path, capsys):
    calls, file = quick(*problems), tmp_path / "check.json"
    with pytest.raises(SystemExit) as end:
        argv = ["check", "--speed", "-o", str(file), "--device", "cpu", "--time_limit", "7"]
        __main__.run(argv)
    assert end.value.code == code and calls == [("cpu", 7, True)]
    assert capsys.readouterr().out == "the table\n"
    assert json.loads(file.read_text())["problems"] == list(problems)


def test_mistakes_are_told_before_anything_runs(quick, tmp_path):
    calls = quick()
    for file, message in ((tmp_path, "is a folder"), (tmp_path / "no" / "x", "there is no folder")):
        with pytest.raises(FlagError, match=message):
            __main__.run(["check", "--output", str(file)])
    with pytest.raises(FlagError, match="--device"):
        __main__.run(["check", "--device", "tpu"])
    assert calls == []


def test_help_imports_nothing_heavy():
    import subprocess
    import sys

    probe = textwrap.dedent("""
        import sys, runpy; sys.argv = ['x', 'check', '--help']
        try: runpy.run_module('bert_paddle', run_name='__main__')
        except SystemExit as end: code = end.code
        heavy = {'paddle', 'numpy', 'yaml', 'bert_paddle.cli.selfcheck'} & set(sys.modules)
        print(heavy, code)
    """)
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", probe], cwd=root, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set() 0", done
