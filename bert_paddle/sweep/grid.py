"""The grid of a sweep, values by flag: from FLAG=A,B arguments, a YAML file or a preset."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from bert_paddle.common import config_file, flags
from bert_paddle.glue.args import GlueArgs

# Devlin et al. 2018 (arXiv:1810.04805), appendix A.3, on fine-tuning.
PRESETS: dict[str, dict[str, list[str]]] = {
    "bert_paper": {
        "batch_size": ["16", "32"],
        "learning_rate": ["5e-5", "3e-5", "2e-5"],
        "num_train_epochs": ["2", "3", "4"],
    }
}
# Flags that the sweep sets itself, or that would make its runs incomparable.
_NOT_ALLOWED_IN_GRID = {
    "output_dir": "each run has its own folder in the sweep's --output_dir",
    "overwrite_output_dir": "give it once, after --",
    "resume_from_checkpoint": "unfinished runs are resumed anyway",
    "debug": "give it once, after --",
    "task_name": "results of different tasks do not compare: make a sweep of each",
    "seeds": "give seed, with its values",
}


def read_grid(
    preset_or_file: str | None, words: Sequence[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """The values to try as texts, by flag name, in the order given, and what is wrong.

    preset_or_file: a name of PRESETS or a YAML file with lines such as `batch_size: [16, 32]`.
    words: "batch_size=16,32"; they win over the file.
    """
    problems: list[str] = []
    grid: dict[str, list[str]] = {}
    if preset_or_file in PRESETS:
        grid |= PRESETS[preset_or_file]
    elif preset_or_file is not None:
        _add_entries(grid, _file_entries(preset_or_file, problems), problems)
    from_words: dict[str, list[str]] = {}
    _add_entries(from_words, _word_entries(words, problems), problems)
    return grid | from_words, problems


# An entry: its place in messages, the flag's name as typed, the values.
_Entry = tuple[str, str, list[str]]


def _add_entries(
    grid: dict[str, list[str]], entries: Iterable[_Entry], problems: list[str]
) -> None:
    fields = {f.name: f for f in flags.declared_flags(GlueArgs)}
    known = {f.metadata["alias"]: f.name for f in fields.values() if f.metadata["alias"]}
    known |= {name: name for name in fields}
    for called, typed, values in entries:
        name = known.get(typed.removeprefix("--"))
        if name is None:
            near = difflib.get_close_matches(typed.removeprefix("--"), known, n=1)
            guess = f", did you mean {near[0]}?" if near else " (bert-paddle glue --help has all)"
            problems.append(f"{called}: {typed[:80]} is not a flag of run_glue.py{guess}")
        elif name in _NOT_ALLOWED_IN_GRID:
            problems.append(f"{called}: {name} cannot be in a grid: {_NOT_ALLOWED_IN_GRID[name]}")
        elif name in grid:
            problems.append(f"{called}: {name} is given twice")
        else:
            grid[name] = values


def _word_entries(words: Sequence[str], problems: list[str]) -> Iterable[_Entry]:
    for word in words:
        name, equals, values = word.partition("=")
        texts = values.split(",")
        if not equals or not name or not all(text.strip() for text in texts):
            problems.append(f"{word!r}: write FLAG=VALUE,VALUE,... such as learning_rate=2e-5,3e-5")
        else:
            yield f"{name}=...", name, [text.strip() for text in texts]


def _file_entries(path: str, problems: list[str]) -> Iterable[_Entry]:
    try:
        top = config_file.compose(Path(path))
    except ValueError as wrong:
        near = difflib.get_close_matches(path, PRESETS, n=1)
        guess = f" (did you mean the grid {near[0]}?)" if near else ""
        problems.append(f"--grid {path}: {wrong}{guess}; the built-in grids: {', '.join(PRESETS)}")
        return
    for key, value in top.value:
        called = f"{path}:{key.start_mark.line + 1}"
        nodes = value.value if value.id == "sequence" else [value]
        if not nodes or any(node.id != "scalar" or not node.value.strip() for node in nodes):
            problems.append(f"{called}: {key.value} takes a list, such as [2e-5, 3e-5]")
        else:
            yield called, str(key.value), [node.value for node in nodes]
