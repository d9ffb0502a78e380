"""Write the tables of FLAGS.md and FLAGS_zh.md from the declarations of the flags:

    python docs/flags.py

Only what stands between the pages' marker lines is replaced. The Chinese texts are in
flags_zh.yaml, by the English ones: a meaning that is new or has changed is an error until it has
one there.
"""

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bert_paddle.clm.args import ClmArgs  # noqa: E402
from bert_paddle.common import markdown, peer_flags  # noqa: E402
from bert_paddle.common.flag_fields import OnResume, declared_flags, spellings  # noqa: E402
from bert_paddle.glue.args import GlueArgs  # noqa: E402
from bert_paddle.pretrain.args import PretrainArgs  # noqa: E402
from bert_paddle.pretrain.create.args import CreateArgs  # noqa: E402

PAGES = {"en": HERE / "FLAGS.md", "zh": HERE / "FLAGS_zh.md"}
CHINESE = HERE / "flags_zh.yaml"
TRAINING = {"glue": GlueArgs, "pretrain": PretrainArgs, "clm": ClmArgs}
PEERS = {
    "All three programs": peer_flags.TRAINING,
    "run_glue.py": peer_flags.GLUE,
    "run_pretrain.py": peer_flags.PRETRAIN,
    "run_clm.py": peer_flags.CLM,
    "create-data": peer_flags.CREATE,
}
HEAD = ("flag", "value", "default", "programs", "resume", "meaning")
ON_RESUME = {
    OnResume.FIXED: "same",
    OnResume.COMPUTE_MODE: "same",
    OnResume.FREE: "free",
    OnResume.IF_GIVEN: "if given",
    OnResume.FROM_RUN: "the run's",
}
_NO_LIMIT = 10**5  # larger upper bounds only stop typing mistakes
_NAME = re.compile(r"(`[^`]+`|--[a-z]\w*(?:\.\.\.| \d\b)?|\$[A-Z]\w*(?:/\w+)*)", re.ASCII)
Translate = Callable[[str], str]


@dataclasses.dataclass
class Row:
    """A flag's declaration, and the programs that have it so."""

    field: dataclasses.Field
    programs: list[str]


def training_rows() -> dict[str, list[Row]]:
    """The flags of the training programs by their headings in --help. A flag that two programs
    declare alike has one row."""
    rows: dict[tuple[Any, ...], Row] = {}
    for program, args_class in TRAINING.items():
        for field in declared_flags(args_class):
            row = rows.setdefault(_declaration(field), Row(field, []))
            row.programs.append(program)
    by_group: dict[str, list[Row]] = {}
    for row in rows.values():
        by_group.setdefault(row.field.metadata["group"], []).append(row)
    # What only one program has comes last.
    return dict(sorted(by_group.items(), key=lambda item: -max(len(r.programs) for r in item[1])))


def _declaration(field: dataclasses.Field) -> tuple[Any, ...]:
    known = field.metadata
    return (field.name, field.default, *(known[key] for key in ("help", "group", "alias")))


def value_text(metadata: Mapping[str, Any], translate: Translate) -> str:
    """What a flag takes: its choices, or its type and range."""
    if metadata["choices"]:
        return ", ".join(f"`{choice}`" for choice in metadata["choices"])
    if metadata["kind"] == "bool":
        return "0, 1"
    if metadata["kind"] == "str":
        text = "path" if metadata["path"] else "text"
        return translate("a,b,c" if metadata["comma_separated"] else text)
    letter = "X" if metadata["kind"] == "float" and not metadata["share_below_1"] else "N"
    low, above, high = (metadata[k] for k in ("minimum", "exclusive_minimum", "maximum"))
    if high is not None and high >= _NO_LIMIT:
        high = None
    if low is None and above is None:
        return letter
    bound = f"{letter} ≥ {low}" if above is None else f"{letter} > {above}"
    if high is None:
        return bound
    return f"{low if above is None else above} {'≤' if above is None else '<'} {letter} ≤ {high}"


def default_text(field: dataclasses.Field, translate: Translate) -> str:
    """A flag's default; – for none."""
    if field.metadata["required"]:
        return translate("required")
    if field.default is None or field.default == "":
        return "–"
    value = int(field.default) if isinstance(field.default, bool) else field.default
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def resume_text(metadata: Mapping[str, Any]) -> str:
    """Whether a resume may have another value. What is recognized by its content may lie
    elsewhere."""
    return ON_RESUME[OnResume.FREE if metadata["recognized_by"] else metadata["on_resume"]]


def meaning_text(help: str) -> str:
    """The meaning of a flag as a cell, with names of flags and variables as code."""
    parts = _NAME.split(help)  # every second one is a name
    return "".join(
        f"`{part.strip('`')}`" if i % 2 else _plain(part) for i, part in enumerate(parts)
    )


def _plain(text: str) -> str:
    """Text that Markdown shows as it is. An underscore within a word needs no backslash."""
    start, end = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    escaped = re.sub(r"(?<=\w)\\_(?=\w)", "_", markdown.escape(text)).replace("\\~", "~")
    return f"{start}{escaped}{end}" if escaped else text


def flag_table(rows: list[Row], translate: Translate, with_programs: bool) -> Iterator[str]:
    """The lines of a table of flags."""
    names = [name for name in HEAD if with_programs or name != "programs"]
    yield f"| {' | '.join(map(translate, names))} |"
    yield "|" + " --- |" * len(names)
    for row in rows:
        metadata = row.field.metadata
        cells = {
            "flag": ", ".join(f"`{name}`" for name in spellings(row.field)),
            "value": value_text(metadata, translate),
            "default": default_text(row.field, translate),
            "programs": translate("all")
            if row.programs == [*TRAINING]
            else ", ".join(row.programs),
            "resume": translate(resume_text(metadata)),
            "meaning": meaning_text(translate(metadata["help"])),
        }
        yield f"| {' | '.join(cells[name] for name in names)} |"


def flags_section(translate: Translate) -> Iterator[str]:
    """The tables of our flags."""
    for group, rows in training_rows().items():
        yield from ("", f"### {translate(group)}", "", *flag_table(rows, translate, True))
    yield from ("", f"## {translate('create-data')}")
    by_group: dict[str, list[Row]] = {}
    for field in declared_flags(CreateArgs):
        by_group.setdefault(field.metadata["group"], []).append(Row(field, []))
    for group, rows in by_group.items():
        yield from ("", f"### {translate(group)}", "", *flag_table(rows, translate, False))


def peers_section(translate: Translate) -> Iterator[str]:
    """The tables of other programs' flags."""
    for program, peers in PEERS.items():
        everywhere = () if peers is peer_flags.TRAINING else peer_flags.TRAINING
        listed = [peer for peer in peers if peer not in everywhere]
        yield from ("", f"### {translate(program)}", "")
        yield from (f"| {translate('flag')} | {translate('here')} |", "| --- | --- |")
        yield from (f"| `--{peer.name}` | {peer_text(peer.help, translate)} |" for peer in listed)


def peer_text(help: str, translate: Translate) -> str:
    """What becomes of another program's flag."""
    words = help.split()
    if len(words) == 1 or len(words) == 2 and words[1].isupper():  # --ours, --ours N
        return help
    return translate(help)


def chinese() -> Translate:
    """The translation of flags_zh.yaml. It raises SystemExit for a text that is not there."""
    import yaml

    texts = yaml.safe_load(CHINESE.read_text(encoding="utf-8"))

    def translate(text: str) -> str:
        if text not in texts:
            raise SystemExit(f"error: {CHINESE.name} has no Chinese for: {text}")
        return texts[text]

    return translate


def update(page: str, translate: Translate) -> str:
    """The page with its tables anew."""
    for name, section in (("flags", flags_section), ("peers", peers_section)):
        begin, end = f"<!-- {name}: begin (docs/flags.py) -->\n", f"\n<!-- {name}: end -->"
        before, _, rest = page.partition(begin)
        after = rest.partition(end)[2]
        page = before + begin + "\n".join(section(translate)) + "\n" + end + after
    return page


def pages() -> dict[Path, str]:
    """The content that both pages should have."""
    translations: dict[str, Translate] = {"en": str, "zh": chinese()}
    return {
        path: update(path.read_text(encoding="utf-8"), translations[language])
        for language, path in PAGES.items()
    }


if __name__ == "__main__":
    for path, content in pages().items():
        path.write_text(content, encoding="utf-8")
