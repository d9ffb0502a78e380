"""What the package may import and how long its files may be. Who may import whom is in
pyproject.toml ([tool.importlinter]), checked by scripts/test.sh."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "bert_paddle"
FILES = sorted(PACKAGE.rglob("*.py"))
# Modules that data creation, the report or a mistaken flag need: none may import paddle, not even
# inside a function.
NO_PADDLE = (
    "common.args common.atomic_files common.background_writer common.config_file common.error_exit "
    "common.errors common.flag_values common.flags common.hardware common.run_log common.signals "
    "common.tensor_file distributed.authentication distributed.heartbeat distributed.joining "
    "distributed.shutdown models.bert_hub models.bpe_files "
    "models.byte_level_bpe models.gpt2_config models.gpt2_weights models.hub models.load_weights "
    "models.model_config models.safe_pickle models.tokenizer models.weight_names training.batching "
    "training.visualdl_writer glue.args glue.custom_args glue.metrics glue.tasks glue.custom.* "
    "glue.data.cola_release glue.data.download common.download glue.data.tsv pretrain.args "
    "pretrain.model_source pretrain.create.* pretrain.data.* report.*"
).split()
HEAVY = set("paddle paddlenlp sklearn scipy matplotlib h5py tokenizers".split())
HEAVY |= set("sentencex jieba distributed deflate tqdm yaml jinja2 shtab".split())
HEAVY |= set("onnx onnxruntime visualdl".split())


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")


def roots(path: Path, everywhere: bool) -> set[str]:
    """The top-level packages that a file imports; with everywhere=False only at module level."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def named(pattern: str) -> list[Path]:
    return [path for path in FILES if Path(name_of(path)).match(pattern)]


def test_the_top_of_the_package_stays_small():
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 16, sorted(path.name for path in entries)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_heavy_at_import(path):
    assert not roots(path, everywhere=False) & HEAVY


@pytest.mark.parametrize("pattern", NO_PADDLE)
def test_no_paddle_at_all(pattern):
    paths = named(pattern)
    assert paths, f"{pattern} is no module"
    for path in paths:
        assert not roots(path, everywhere=True) & {"paddle", "paddlenlp"}, path


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_environment_and_rank_have_one_owner(path):
    text, name = path.read_text(encoding="utf-8"), name_of(path)
    if name != "common.runtime":
        assert "os.environ[" not in text and "environ.setdefault" not in text
    if name not in tuple(
        f"distributed.{part}"
        for part in ("collectives", "heartbeat", "joining", "launch", "rendezvous")
    ):
        assert "rank == 0" not in text and ".is_main:" not in text and "log.active" not in text


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_stay_readable(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno + 1 <= 60, node.name


@pytest.mark.parametrize("program", ["run_glue.py", "run_pretrain.py", "run_clm.py"])
def test_help_appears_without_numpy(program):
    words = f"import sys; sys.argv = [{program!r}, '--help']\n"
    words += "import runpy, atexit; atexit.register(lambda: print('numpy' in sys.modules))\n"
    words += f"runpy.run_path({program!r}, run_name='__main__')"
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", words], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"
