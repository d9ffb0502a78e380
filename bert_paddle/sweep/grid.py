"""The grid of a sweep, values to try by flag: from FLAG=A,B arguments, a YAML file or a preset."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bert_paddle.common import config_file, flags
from bert_paddle.common.flag_texts import peer_flags
from bert_paddle.common.suggest import did_you_mean, nearest
from bert_paddle.sweep.programs import GLUE, PROGRAMS, Program

# Devlin et al. 2018 (arXiv:1810.04805), appendix A.3, on fine-tuning.
PRESETS: dict[str, dict[str, list[str]]] = {
    "bert_paper": {
        "batch_size": ["16", "32"],
        "learning_rate": ["5e-5", "3e-5", "2e-5"],
        "num_train_epochs": ["2", "3", "4"],
    }
}


def read_grid(
    preset_or_file: str | None, assignments: Sequence[str], program: str = GLUE
) -> tuple[dict[str, list[str]], list[str]]:
    """Returns the values to try by flag name, as texts in the order given, and a list of problems.

    preset_or_file: a key of PRESETS, or a YAML file with lines such as `batch_size: [16, 32]`.
    assignments: texts such as "batch_size=16,32", which take precedence over preset_or_file.
    program: a key of PROGRAMS.
    """
    runs = PROGRAMS[program]
    problems: list[str] = []
    grid: dict[str, list[str]] = {}
    if preset_or_file in PRESETS:
        grid |= PRESETS[preset_or_file]
    elif preset_or_file is not None:
        _add_entries(grid, _file_entries(preset_or_file, problems), problems, runs)
    assigned: dict[str, list[str]] = {}
    _add_entries(assigned, _assignment_entries(assignments, problems), problems, runs)
    return grid | assigned, problems


# An entry of a grid: its location for messages, the name as typed, the values. The name is the
# flag's or its alias, perhaps with dashes before it.
_Entry = tuple[str, str, list[str]]


def _add_entries(
    grid: dict[str, list[str]], entries: Iterable[_Entry], problems: list[str], program: Program
) -> None:
    """Add the entries to `grid` by flag name, and a message to `problems` for each bad one."""
    fields = flags.fields_by_name(program.args_class)
    peers = peer_flags(program.args_class)
    for location, typed, values in entries:
        field = fields.get(typed.removeprefix("--"))
        if field is None:
            peer = peers.get(typed.removeprefix("--"))
            hint = did_you_mean(typed, fields, f"; see {program.script} --help")
            hint = f": {peer.help}" if peer else hint
            problems.append(f"{location}: {typed[:80]} is not a flag of {program.script}{hint}")
        elif reason := field.metadata["not_in_grid"]:
            problems.append(f"{location}: {field.name} cannot be in a grid: {reason}")
        elif field.name in grid:
            problems.append(f"{location}: {field.name} is given twice")
        else:
            grid[field.name] = values


def _assignment_entries(assignments: Sequence[str], problems: list[str]) -> Iterable[_Entry]:
    """The entries of FLAG=A,B arguments. Adds a message to `problems` for each malformed one."""
    for assignment in assignments:
        name, equals, values = assignment.partition("=")
        texts = values.split(",")
        if not equals or not name or not all(text.strip() for text in texts):
            problems.append(
                f"{assignment!r}: write FLAG=VALUE,VALUE,... such as learning_rate=2e-5,3e-5"
            )
        else:
            yield f"{name}=...", name, [text.strip() for text in texts]


def _file_entries(path: str, problems: list[str]) -> Iterable[_Entry]:
    """The entries of a YAML file. Adds a message to `problems` for each malformed one."""
    try:
        mapping = config_file.compose(Path(path))
    except ValueError as error:
        matches = nearest(path, PRESETS)
        hint = f" (did you mean the grid {matches[0]}?)" if matches else ""
        problems.append(f"--grid {path}: {error}{hint}; the built-in grids: {', '.join(PRESETS)}")
        return
    for key, value in mapping.value:
        location = f"{path}:{key.start_mark.line + 1}"
        nodes = value.value if value.id == "sequence" else [value]
        if not nodes or any(node.id != "scalar" or not node.value.strip() for node in nodes):
            problems.append(f"{location}: {key.value} takes a list, such as [2e-5, 3e-5]")
        else:
            yield location, str(key.value), [node.value for node in nodes]
