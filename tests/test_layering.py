"""Who may import whom (ARCHITECTURE of the package), and what may not be imported at all."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "bert_paddle"
FILES = sorted(PACKAGE.rglob("*.py"))
# From the top: a module imports only from modules above it. The kernels (fused) stand below `log`:
# they use nothing beneath it, and whatever is beneath may use them.
ORDER = (
    "errors machine held files exits signals saver peers ending env flag_values config_file "
    "flags args dist launch log batching nlp "
    "tokenizer pickles hf_weights hub model_config weights model acceleration multi_tensor "
    "optim checkpoint whole trainer step_profile "
    "training claim epochs runs board record model_card"
).split()
ABOVE_KERNELS = ORDER[: ORDER.index("log") + 1]
ABOVE = ("api", "__main__")  # what people call: above both wings
NO_PADDLE = (
    "errors held files flag_values config_file flags args log batching tokenizer pickles "
    "hf_weights hub weights model_config exits machine signals saver peers ending glue.args "
    "glue.tasks glue.readers glue.metrics glue.download glue.fetch glue.cola_release glue.own_args "
    "glue.own_columns glue.own_files glue.own_task glue.own_data "
    "pretrain.args pretrain.layout pretrain.hdf5 pretrain.order pretrain.batches pretrain.source "
    "pretrain.text pretrain.text_files pretrain.vocab pretrain.create_args pretrain.create_data "
    "pretrain.create_jobs pretrain.made_folder pretrain.masking pretrain.pairs pretrain.shard "
    "pretrain.shard_file pretrain.spool pretrain.words board report.build report.curves "
    "report.drawing report.facts report.page report.pictures report.tables"
).split()
HEAVY = set("paddle paddlenlp sklearn scipy matplotlib h5py tokenizers".split())
HEAVY |= set("sentencex jieba distributed deflate tqdm yaml jinja2 shtab".split())
HEAVY |= set("onnx onnxruntime visualdl".split())


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")


def imports(path: Path, everywhere: bool = True) -> set[str]:
    """Full names of what a file imports; with everywhere=False only at module level."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def own(found: set[str]) -> set[str]:
    """Modules of the package among imported names, without the package's name."""
    modules = {name_of(path) for path in FILES}
    short = {name.removeprefix("bert_paddle.") for name in found if name.startswith("bert_paddle.")}
    return short & modules


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_up(path):
    name, used = name_of(path), own(imports(path))
    if "." not in name and name not in (*ABOVE, "__init__"):
        assert name in ORDER, f"give {name} its place in ORDER"
        below = set(ORDER[ORDER.index(name) :])
        below |= {
            m for m in used if "." in m and (not m.startswith("fused.") or name in ABOVE_KERNELS)
        }
        assert not used & below, f"{name} imports {used & below}"
    if name.startswith("fused."):
        beneath = {m for m in used if m not in ABOVE_KERNELS and not m.startswith("fused.")}
        assert not beneath, f"{name} imports {beneath}"
    for wing, other in (("glue", "pretrain"), ("pretrain", "glue")):
        if name.startswith(f"{wing}."):
            assert not any(module.startswith(f"{other}.") for module in used)
    if not name.startswith(("commands.", "__main__")):
        assert not any(module.startswith("commands.") for module in used)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_heavy_at_import(path):
    roots = {name.split(".")[0] for name in imports(path, everywhere=False)}
    assert not roots & HEAVY


@pytest.mark.parametrize("name", NO_PADDLE)
def test_no_paddle_at_all(name):
    path = PACKAGE / (name.replace(".", "/") + ".py")
    roots = {found.split(".")[0] for found in imports(path)}
    assert not roots & {"paddle", "paddlenlp"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_environment_and_rank_have_one_owner(path):
    text, name = path.read_text(encoding="utf-8"), name_of(path)
    if name != "env":
        assert "os.environ[" not in text and "environ.setdefault" not in text
    if name not in ("dist", "launch"):
        assert "rank == 0" not in text and ".is_main:" not in text and "out.active" not in text


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_stay_readable(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno + 1 <= 60, node.name
