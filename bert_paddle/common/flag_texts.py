"""From the names and texts that a user typed to the text of each flag: aliases, flags of other
programs that stand for ours, and contradictions between them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bert_paddle.common.flag_fields import fields_by_name
from bert_paddle.common.flag_values import NO_VALUE, convert
from bert_paddle.common.peer_flags import PeerFlag


@dataclass(frozen=True)
class FlagText:
    """A flag's unconverted value; label: the flag in messages, as "--seed" or "a.yaml:3: seed"."""

    text: str
    label: str

    def __str__(self) -> str:
        return self.label if self.text == NO_VALUE else f"{self.label} {self.text}"


@dataclass
class Resolved:
    """texts: by our flags' names. notes: what is to be said about flags of other programs."""

    texts: dict[str, FlagText] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def peer_flags(args_class: type) -> dict[str, PeerFlag]:
    """The flags of other programs that a command knows, by name."""
    return {peer.name: peer for peer in getattr(args_class, "peer_flags", ())}


def resolve(
    args_class: type, given: Iterable[tuple[str, FlagText]], problems: list[str]
) -> Resolved:
    """The flags given in one place, in order. given: names (of flags, aliases and flags of other
    programs), each with its text; of the same name the last one counts.

    Adds a message to `problems` for flags of other programs that cannot be honoured, and for
    different names of one flag with different values.
    """
    fields, peers, resolved = fields_by_name(args_class), peer_flags(args_class), Resolved()
    last = dict(given)
    all_texts = {name: text.text for name, text in last.items()}
    by_flag: dict[str, list[FlagText]] = {}
    shown: dict[FlagText, str] = {}
    for name, text in last.items():
        if name in fields:
            by_flag.setdefault(fields[name].name, []).append(text)
            shown[text] = str(text)
            continue
        try:
            settings = peers[name].translate(text.text, all_texts)
        except ValueError as error:
            problems.append(f"{text} {error}")
            continue
        if note := peers[name].note:
            resolved.notes.append(f"{text}: {note}")
        for flag, value in settings.items():
            ours = FlagText(value, text.label)
            by_flag.setdefault(flag, []).append(ours)
            shown[ours] = str(text)
    for flag, texts in by_flag.items():
        resolved.texts[flag] = texts[-1]
        values = {_value(fields[flag].metadata, text) for text in texts}
        if len(values) > 1:
            both = " and ".join(dict.fromkeys(shown[text] for text in texts))
            problems.append(f"{both} contradict each other: give one of them")
    return resolved


def _value(metadata: Mapping[str, Any], text: FlagText) -> Any:
    """The value, so that 2e-5 and 0.00002 are the same; the text where it is not valid."""
    try:
        return convert(metadata, text.text)
    except ValueError:
        return text.text
