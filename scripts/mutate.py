"""Change one place of the package at a time and say which changes no test notices.

    python scripts/mutate.py --seed 1 --count 30

Draws places by the seed and works on a copy of the repository. For each change, the tests of
its package that are named after the changed module or import it run until one fails; with --wide,
then all of the package and all that import it. Prints one line for each change and, at the end,
the survivors. A survivor is a missing test or a change of no effect. The fast tests only.
"""

import argparse
import ast
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("training", "distributed", "models", "glue", "pretrain", "clm")
_OPPOSITE = {
    ast.Lt: ">=",
    ast.GtE: "<",
    ast.Gt: "<=",
    ast.LtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
}
_BOUNDARY = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}


@dataclass(frozen=True)
class Change:
    """Replace characters `start` to `end` of a file, which has the path `path` in the
    repository."""

    path: Path
    line: int
    kind: str
    start: int
    end: int
    new: str

    def apply(self, text: str) -> str:
        return text[: self.start] + self.new + text[self.end :]

    def describe(self, text: str) -> str:
        old = " ".join(text[self.start : self.end].split())
        return f"{self.path}:{self.line}: {self.kind}: {old[:60]!r} -> {self.new[:60]!r}"


class Places(ast.NodeVisitor):
    """Collects the possible changes of a file."""

    def __init__(self, path: Path, text: str):
        self.path, self.text, self.changes = path, text, list[Change]()
        self._lines = [0]
        for line in text.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line.encode()))
        self._bytes = text.encode()
        self.visit(ast.parse(text))

    def _offset(self, line: int, column: int) -> int:
        return len(self._bytes[: self._lines[line - 1] + column].decode())

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return (
            self._offset(node.lineno, node.col_offset),
            self._offset(node.end_lineno, node.end_col_offset),
        )

    def _add(self, node: ast.expr | ast.stmt, kind: str, new: str) -> None:
        self.changes.append(Change(self.path, node.lineno, kind, *self._span(node), new))

    def _source(self, node: ast.expr) -> str:
        start, end = self._span(node)
        return self.text[start:end]

    def visit_Compare(self, node: ast.Compare) -> None:
        left, right = self._source(node.left), self._source(node.comparators[0])
        if len(node.ops) == 1:
            for kind, table in (("comparison flipped", _OPPOSITE), ("boundary moved", _BOUNDARY)):
                if operator := table.get(type(node.ops[0])):
                    self._add(node, kind, f"{left} {operator} {right}")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        word = " or " if isinstance(node.op, ast.And) else " and "
        parts = [f"({self._source(value)})" for value in node.values]
        self._add(node, "and/or exchanged", f"({word.join(parts)})")
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        self._add(node.test, "condition negated", f"not ({self._source(node.test)})")
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._add(node.test, "condition negated", f"(not ({self._source(node.test)}))")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self._add(node, "statement removed", "pass")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._add(node, "statement removed", "pass")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if isinstance(node.targets[0], ast.Attribute | ast.Subscript):
            self._add(node, "statement removed", "pass")
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and not _is_none(node.value):
            self._add(node, "return value dropped", "return None")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._add(node, "constant changed", str(not node.value))
        elif isinstance(node.value, int):
            self._add(node, "constant changed", str(node.value + 1))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)  # not the annotation

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for part in (*node.args.defaults, *node.args.kw_defaults, *node.body):
            if part is not None:
                self.visit(part)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Messages: their wording is not what this is about."""


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def draw(root: Path, packages: list[str], count: int, seed: int) -> Iterator[Change]:
    """Distinct changes, each of a file drawn with the weight of its number of places."""
    changes: list[Change] = []
    for package in packages:
        for path in sorted((root / "bert_paddle" / package).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            changes += Places(path.relative_to(root), text).changes
    yield from random.Random(seed).sample(changes, min(count, len(changes)))


def tests_of(root: Path, changed: Path, wide: bool) -> list[str]:
    """The test files of a module's package that are named after it or import it; with `wide`, all
    that import it and all of its package."""
    package, stem = changed.parts[1], changed.stem
    parent = re.escape(".".join(changed.parts[:-1]))
    imports = re.compile(rf"{parent}\.{stem}\b|from {parent} import \(?([\w ,\n]*\b)?{stem}\b")
    named, importing = list[str](), list[str]()
    for path in sorted((root / "tests").rglob("test_*.py")):
        name = path.relative_to(root).as_posix()
        if re.fullmatch(rf"test_{stem}(_\w+)?", path.stem):
            named.append(name)
        elif imports.search(path.read_text(encoding="utf-8")):
            importing.append(name)
    folder = f"tests/{package}"
    if wide:
        return [folder, *(name for name in importing if not name.startswith(folder))]
    return [*named, *(name for name in importing if name.startswith(folder))] or [folder]


def run_tests(copy: Path, tests: list[str], seconds: float) -> str:
    """Why the tests fail: the first one's name, or "timeout"; "" if they pass."""
    options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-m", "not slow", "-rfE"]
    process = subprocess.Popen(
        [sys.executable, "-B", "-m", "pytest", *options, *tests],
        cwd=copy,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return "timeout"
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)  # with what the tests have started
        except ProcessLookupError:
            pass
        process.wait()
    if process.returncode == 0:
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", output, re.MULTILINE)
    return failed[1] if failed else f"exit code {process.returncode}"


def try_change(copy: Path, change: Change, seconds: float, wide: bool) -> str:
    """Which test fails with the change in place; "" if none does."""
    path = copy / change.path
    text = path.read_text(encoding="utf-8")
    path.write_text(change.apply(text), encoding="utf-8")
    try:
        why = run_tests(copy, tests_of(copy, change.path, False), seconds)
        if not why and wide:
            why = run_tests(copy, tests_of(copy, change.path, True), seconds)
        return why
    finally:
        path.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=30, help="number of changes")
    parser.add_argument("--package", action="append", choices=PACKAGES, help="all without it")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for a change's tests")
    parser.add_argument("--wide", action="store_true", help="then the tests of the whole package")
    parser.add_argument("--list", action="store_true", help="print the changes only")
    flags = parser.parse_args()
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        ignored = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*cache")
        shutil.copytree(ROOT, copy, ignore=ignored)
        for change in draw(copy, flags.package or list(PACKAGES), flags.count, flags.seed):
            what = change.describe((copy / change.path).read_text(encoding="utf-8"))
            if flags.list:
                print(what)
                continue
            start = time.monotonic()
            why = try_change(copy, change, flags.timeout, flags.wide)
            survivors += [] if why else [what]
            outcome = f"noticed by {why}" if why else "SURVIVED"
            print(f"{what}\n    {outcome} ({time.monotonic() - start:.0f} s)", flush=True)
    if not flags.list:
        print(f"{len(survivors)} survived", *survivors, sep="\n")


if __name__ == "__main__":
    main()
