"""Kills and refusals of the disk, one after the other, each followed by a resume and a comparison.

    python tests/support/soak.py --kills 100 --table FILE      all of them (scripts/soak.sh)

tests/training/test_crashes.py does a part. What is promised: docs/RELIABILITY.md.
"""

import argparse
import collections
import json
import os
import random
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

import same
from faults import STEPS, Ended, Server

from bert_paddle.training import checkpoint


@dataclass(frozen=True)
class Outcome:
    """What came of a fault: the exit code, and where the next start went on from."""

    code: int
    went_on_from: str


@dataclass
class Story:
    """A way that a folder may look when a run is started in it."""

    program: str
    make: Any  # puts the reference's checkpoints into a folder
    whole: Path = field(default_factory=Path)  # a run that nothing stopped
    events: list[str] = field(default_factory=list)


def nothing(reference: Path, out: Path) -> None:
    """A new folder."""


def newest_damaged(reference: Path, out: Path) -> None:
    """A whole checkpoint, a newer one with a flipped bit, and what earlier crashes left."""
    shutil.copytree(reference, out)
    path = out / "model_4" / checkpoint.OPTIMIZER
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.write_bytes(content)
    shutil.rmtree(out / "model_6")
    (out / "all_results.json").unlink()
    for name in ("model_6.partial", "model_1.gone"):
        shutil.copytree(out / "model_2", out / name)
    (out / ".metrics.jsonl.7.part").write_text("{")


def all_damaged(reference: Path, out: Path) -> None:
    """Two checkpoints, none of them whole: the run begins anew and replaces them."""
    newest_damaged(reference, out)
    os.truncate(out / "model_2" / "model.safetensors", 100)


def replaced(reference: Path, out: Path) -> None:
    """A crash while a checkpoint was replaced by one of the same step."""
    newest_damaged(reference, out)
    (out / "model_2").rename(out / "model_2.old")


def steps_in_place(events: list[str]) -> set[int]:
    """Which checkpoints a run had put into place, and not begun to take away, by its events."""
    steps: set[int] = set()
    for event in events:
        if found := re.match(r"rename model_(\d+)\.partial", event):
            steps.add(int(found[1]))
        elif found := re.match(r"rename model_(\d+)( #\d+)?$", event):
            steps.discard(int(found[1]))
    return steps


class Soak:
    """The stories with their references, and what came of every fault."""

    def __init__(self, place: Path):
        place.mkdir(parents=True, exist_ok=True)
        self.server, self.place = Server(place), place
        self.count = 0
        self.stories = {
            "new folder, fine-tuning": Story("glue", nothing),
            "new folder, pre-training": Story("pretrain", nothing),
            "newest damaged": Story("glue", newest_damaged),
            "all damaged": Story("glue", all_damaged),
            "killed while replacing": Story("glue", replaced),
        }
        for program in ("glue", "pretrain"):
            whole = place / f"whole-{program}"
            ended = self.server.run(program, whole, "--save_total_limit -1")
            assert ended.code == 0, ended.err
            for story in self.stories.values():
                if story.program == program:
                    story.whole = whole
        for story in self.stories.values():
            ended = self.server.run(story.program, self.folder(story))
            assert ended.code == 0, ended.err
            story.events = ended.events

    def folder(self, story: Story) -> Path:
        """A new folder as the story has it."""
        self.count += 1
        out = self.place / f"run{self.count}"
        story.make(story.whole, out)
        return out

    def fault(self, story: Story, event: str, kind: str) -> "Outcome":
        """Do one fault, look at what is left, resume, compare."""
        out = self.folder(story)
        before = {s for s in checkpoint.saved_steps(out) if whole(out, s)}
        ended = self.server.run(story.program, out, event=event, kind=kind)
        if kind in ("full", "readonly"):
            # Tidying up may be refused without harm; all else is told in one line, and at the
            # start (exit code 2) it is the folder that is at fault.
            lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
            assert ended.code == 0 or ended.code in (1, 2) and len(lines) == 1, (event, ended.err)
            assert "Traceback" not in ended.err, (event, ended.err)
        else:
            assert ended.code == -9, (event, ended.code, ended.err)
        expected = steps_in_place(ended.events) | (before if not ended.events else set())
        newest = [s for s in checkpoint.saved_steps(out) if whole(out, s)][-1:]
        if expected and kind != "torn":
            assert newest and newest[0] >= max(expected), (event, kind, expected, os.listdir(out))
        again = self.resume(story, out, f"{kind} at {event}")
        shutil.rmtree(out)
        return Outcome(ended.code, again.went_on_from())

    def resume(self, story: Story, out: Path, why: str) -> Ended:
        """Go on to the end; nothing may differ from the run that nothing stopped."""
        again = self.server.run(story.program, out)
        assert again.code == 0, (why, again.err)
        differ = same.differences(story.whole, out, STEPS)
        assert not differ, (why, differ)
        lines = same.plain_lines(Path(f"{story.whole}.log.out").read_text())
        told = same.plain_lines(again.out)
        assert told == lines[len(lines) - len(told) :], (why, told)
        names = {p.name for p in out.iterdir() if ".aside" not in p.name}
        wanted = {f"model_{STEPS}", "metrics.jsonl", "all_results.json"}
        wanted |= {"settings.yaml", "run.json"}
        best = json.loads((out / "all_results.json").read_text())["best_step"]
        wanted |= {f"model_{best}"} if best else set()
        assert names == wanted - {f"model_{STEPS - 2}"}, (why, names)
        return again

    def random_kills(self, story: Story, kills: int, seed: int) -> collections.Counter:
        """Kill at random times and start again, in one folder until its run ends, then in another;
        how often a start went on from which checkpoint."""
        rng, done, begun_from = random.Random(seed), 0, collections.Counter[str]()
        length = self.server.run(story.program, self.folder(story)).seconds
        out = self.folder(story)
        while done < kills:
            ended = self.server.run(story.program, out, kill_after=rng.uniform(0, length))
            if ended.code == -9:
                done += 1
                begun_from[ended.went_on_from()] += 1
            else:
                assert ended.code == 0, ended.err
                self.resume(story, out, "after its end")
                out = self.folder(story)
        self.resume(story, out, f"kill {done} of seed {seed}")
        return begun_from


def whole(out: Path, step: int) -> bool:
    return checkpoint.find_damage(checkpoint.checkpoint_dir(out, step)) is None


STAGES = (  # of what a run writes, by the names of events; the first that fits
    (r"(mkdir|unlink) \.(writable|in_use)?$", "taking and leaving the folder"),
    (r".*all_results", "writing all_results.json"),
    (r"append", "a line of metrics.jsonl"),
    (r"unlink \.metrics", "tidying up"),
    (r".*metrics", "cutting metrics.jsonl back"),
    (r"(unlink|rmdir) model_\d+\.(gone|old|partial)", "deleting what is no longer needed"),
    (r"rename model_\d+\.partial", "renaming the new checkpoint into place"),
    (r"rename", "renaming an older one away or back"),
    (r".*manifest", "writing the manifest"),
    (r"sync \.", "flushing the output folder"),
    (r"sync", "flushing the files"),
    (r"", "building the new checkpoint"),
)
ORDER = tuple(dict.fromkeys(stage for _, stage in STAGES))


def stage_of(event: str) -> str:
    return next(stage for pattern, stage in STAGES if re.match(pattern, event))


def kinds_for(name: str, event: str) -> tuple[str, ...]:
    """The faults to do at an event: the disk's refusals at one save of a new run."""
    torn = ("torn",) if event.startswith("write") else ()
    full = {"new folder, fine-tuning": "full", "new folder, pre-training": "readonly"}.get(name)
    if full is None or re.search(r"model_[26]\.partial|model_4\.gone", event):
        return ("kill", *torn)
    return ("kill", *torn, full)


def table(found: list[tuple[str, str, str, Outcome]]) -> list[str]:
    """(start, fault, stage, outcome) counted by start, and by stage."""
    lines: list[str] = []
    for title, place in (("start", 0), ("while", 2)):
        groups: dict[tuple[str, str], list[Outcome]] = {}
        for row in found:
            groups.setdefault((row[place], row[1]), []).append(row[3])
        order = (*ORDER, *dict.fromkeys(row[0] for row in found))
        lines += ["", f"| {title} | fault | points | exit code | went on from | ended identical |"]
        lines += ["|---|---|---|---|---|---|"]
        for (name, kind), some in sorted(groups.items(), key=lambda g: order.index(g[0][0])):
            codes = ", ".join(str(code) for code in sorted({outcome.code for outcome in some}))
            begun = collections.Counter(outcome.went_on_from for outcome in some)
            went = ", ".join(f"{step} {count}" for step, count in sorted(begun.items()))
            # A run that did not end so would have stopped everything.
            lines.append(f"| {name} | {kind} | {len(some)} | {codes} | {went} | {len(some)} |")
    return lines[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="at random times, per program")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path, required=True, help="Markdown, written at the end")
    flags = parser.parse_args()
    found: list[tuple[str, str, str, Outcome]] = []
    with tempfile.TemporaryDirectory() as place:
        soak = Soak(Path(place))
        for name, story in soak.stories.items():
            for event in story.events:
                for kind in kinds_for(name, event):
                    outcome = soak.fault(story, event, kind)
                    found.append((name, kind, stage_of(event), outcome))
                    print(f"{name}: {kind} at {event}: {outcome}", flush=True)
        lines = table(found)
        for name in ("new folder, fine-tuning", "new folder, pre-training"):
            kills = soak.random_kills(soak.stories[name], flags.kills, flags.seed)
            lines += [
                "",
                f"{name}, killed at {flags.kills} random times, each start went on from: ",
            ]
            lines[-1] += ", ".join(f"{place} {count} times" for place, count in kills.items())
        soak.server.close()
    flags.table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
