"""docs/ARCHITECTURE.md: what it names exists, and its figure shows the imports as they are."""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "bert_paddle"
PAGES = {
    name: (ROOT / "docs" / name).read_text("utf-8") for name in ("ARCHITECTURE.md", "EXTENDING.md")
}
PACKAGES = "|".join(sorted(path.stem for path in PACKAGE.iterdir() if path.stem.isalpha()))
# collectives.run_on_main is distributed.collectives.run_on_main where the package is clear.
NAME = re.compile(rf"(?<![\w./])(?:{PACKAGES})(?:\.\w+)+")
PATH = re.compile(
    r"(?<![\w./])(?:bert_paddle|tests|docs|scripts)/[\w./*]+|run_\w+\.py|pyproject\.toml"
)
IMPORT = re.compile(r"^ *from bert_paddle(?:\.([\w.]+))? import ([\w, ]+|\()", re.MULTILINE)


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def defined(nodes: list[ast.stmt]) -> dict[str, ast.stmt]:
    """What a module or class defines or imports, by name."""
    found = {}
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found |= {t.id: node for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name: node for alias in node.names}
    return found


def exists(name: str) -> bool:
    """Whether a dotted name is a module of the package, or something in one."""
    path, parts = PACKAGE, name.split(".")
    while parts and ((path / parts[0]).is_dir() or (path / f"{parts[0]}.py").is_file()):
        path = path / parts.pop(0)
    module = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    nodes = tree(module).body
    for part in parts:
        node = defined(nodes).get(part)
        if node is None:
            return False
        nodes = getattr(node, "body", [])
    return True


@pytest.mark.parametrize("page", PAGES)
def test_what_the_page_names_is_there(page):
    text = PAGES[page]
    names = {name.rstrip(".") for name in NAME.findall(text)}
    names = {name for name in names if not name.endswith((".py", ".md", ".html", ".json"))}
    assert page != "ARCHITECTURE.md" or len(names) > 80
    assert [name for name in sorted(names) if not exists(name)] == []
    paths = {path.rstrip(".") for path in PATH.findall(text)}
    assert [path for path in sorted(paths) if not any(ROOT.glob(path))] == []


@pytest.mark.parametrize("page", PAGES)
def test_its_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGES[page]):
        assert (ROOT / "docs" / target).exists(), target


def figure_rows() -> dict[str, int]:
    """The row of each package in docs/figures.py, from the top."""
    nodes = defined(tree(ROOT / "docs" / "figures.py").body)
    rows = nodes["LAYERS"].value.elts
    return {box.elts[0].value: row for row, boxes in enumerate(rows) for box in boxes.elts}


def package_of(module: str) -> str:
    """The box of a module that is named below bert_paddle."""
    return "models/kernels" if module.startswith("models.kernels") else module.split(".")[0]


def imported_modules(path: Path) -> set[str]:
    """What a file imports of the package anywhere, named below bert_paddle."""
    found = set()
    for module, names in IMPORT.findall(path.read_text(encoding="utf-8")):
        found |= {module} if module else set(re.findall(r"\w+", names))
    return found


def test_the_figure_shows_who_imports_whom():
    rows = figure_rows()
    for path in PACKAGE.rglob("*.py"):
        module = path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        importer = package_of(module)
        for imported in imported_modules(path):
            package = package_of(imported)
            if importer in rows and package in rows and package != importer:
                assert rows[importer] < rows[package], f"{module} imports {imported}"
    others = {"__init__", "__main__", "walkthrough"}
    tops = {path.stem for path in PACKAGE.iterdir() if path.stem != "__pycache__"}
    assert tops - others == set(rows) - {"models/kernels"}


def test_the_figures_are_drawn(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import figures

    monkeypatch.setattr(figures, "HERE", tmp_path)
    figures.draw_layers()
    assert (tmp_path / "layers.png").read_bytes().startswith(b"\x89PNG")
