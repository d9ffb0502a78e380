"""Kills and disk errors, one after the other, each followed by a resume and a comparison.

    python tests/support/soak.py --kills 100 --table FILE      all of them (scripts/soak.sh)

tests/training/test_crashes.py runs a part. The guarantees: docs/RELIABILITY.md.
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
from faults import STEPS, RunResult, Server

from bert_paddle.training import checkpoint


@dataclass(frozen=True)
class Outcome:
    """The effect of a fault: the exit code, and what the next run resumed from."""

    code: int
    resumed_from: str


@dataclass
class Scenario:
    """A state of the output folder when a run starts in it."""

    program: str
    prepare: Any  # function that puts the reference run's checkpoints into a folder
    reference: Path = field(default_factory=Path)  # an uninterrupted run
    events: list[str] = field(default_factory=list)


def new_folder(reference: Path, out: Path) -> None:
    """A new folder."""


def newest_damaged(reference: Path, out: Path) -> None:
    """A complete checkpoint, a newer one with a flipped bit, and leftovers of earlier crashes."""
    shutil.copytree(reference, out)
    path = out / "model_4" / checkpoint.OPTIMIZER_FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.write_bytes(content)
    shutil.rmtree(out / "model_6")
    (out / "all_results.json").unlink()
    for name in ("model_6.partial", "model_1.gone"):
        shutil.copytree(out / "model_2", out / name)
    (out / ".metrics.jsonl.7.part").write_text("{")


def all_damaged(reference: Path, out: Path) -> None:
    """Two damaged checkpoints: the run starts from scratch and replaces them."""
    newest_damaged(reference, out)
    os.truncate(out / "model_2" / "model.safetensors", 100)


def replaced(reference: Path, out: Path) -> None:
    """A crash while a checkpoint was being replaced by one of the same step."""
    newest_damaged(reference, out)
    (out / "model_2").rename(out / "model_2.replaced")


def steps_in_place(events: list[str]) -> set[int]:
    """The checkpoints that a run had put in place and not started to remove, by its events."""
    steps: set[int] = set()
    for event in events:
        if match := re.match(r"rename model_(\d+)\.partial", event):
            steps.add(int(match[1]))
        elif match := re.match(r"rename model_(\d+)( #\d+)?$", event):
            steps.discard(int(match[1]))
    return steps


class Soak:
    """The scenarios with their reference runs."""

    def __init__(self, place: Path):
        place.mkdir(parents=True, exist_ok=True)
        self.server, self.place = Server(place), place
        self.count = 0
        self.scenarios = {
            "new folder, fine-tuning": Scenario("glue", new_folder),
            "new folder, pre-training": Scenario("pretrain", new_folder),
            "newest damaged": Scenario("glue", newest_damaged),
            "all damaged": Scenario("glue", all_damaged),
            "killed while replacing": Scenario("glue", replaced),
        }
        for program in ("glue", "pretrain"):
            reference = place / f"reference-{program}"
            ended = self.server.run(program, reference, "--save_total_limit -1")
            assert ended.code == 0, ended.err
            for scenario in self.scenarios.values():
                if scenario.program == program:
                    scenario.reference = reference
        for scenario in self.scenarios.values():
            ended = self.server.run(scenario.program, self.folder(scenario))
            assert ended.code == 0, ended.err
            scenario.events = ended.events

    def folder(self, scenario: Scenario) -> Path:
        """A new folder in the scenario's initial state."""
        self.count += 1
        out = self.place / f"run{self.count}"
        scenario.prepare(scenario.reference, out)
        return out

    def fault(self, scenario: Scenario, event: str, kind: str) -> "Outcome":
        """Inject one fault, check the folder, resume, compare."""
        out = self.folder(scenario)
        before = {s for s in checkpoint.saved_steps(out) if is_complete(out, s)}
        ended = self.server.run(scenario.program, out, event=event, kind=kind)
        if kind in ("full", "readonly"):
            # A failed cleanup is harmless; other failures give one line, with exit code 2 at the
            # start, where the folder is the problem.
            lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
            assert ended.code == 0 or ended.code in (1, 2) and len(lines) == 1, (event, ended.err)
            assert "Traceback" not in ended.err, (event, ended.err)
        else:
            assert ended.code == -9, (event, ended.code, ended.err)
        expected = steps_in_place(ended.events) | (before if not ended.events else set())
        newest = [s for s in checkpoint.saved_steps(out) if is_complete(out, s)][-1:]
        if expected and kind != "torn":
            assert newest and newest[0] >= max(expected), (event, kind, expected, os.listdir(out))
        resumed = self.resume(scenario, out, f"{kind} at {event}")
        shutil.rmtree(out)
        return Outcome(ended.code, resumed.resumed_from())

    def resume(self, scenario: Scenario, out: Path, why: str) -> RunResult:
        """Resume to the end; the result must be identical to the uninterrupted run's."""
        resumed = self.server.run(scenario.program, out)
        assert resumed.code == 0, (why, resumed.err)
        differ = same.differences(scenario.reference, out, STEPS)
        assert not differ, (why, differ)
        lines = same.plain_lines(Path(f"{scenario.reference}.log.out").read_text())
        printed = same.plain_lines(resumed.out)
        assert printed == lines[len(lines) - len(printed) :], (why, printed)
        names = {p.name for p in out.iterdir() if ".aside" not in p.name}
        expected = {f"model_{STEPS}", "metrics.jsonl", "all_results.json"}
        expected |= {"settings.yaml", "run.json"}
        best = json.loads((out / "all_results.json").read_text())["best_step"]
        expected |= {f"model_{best}"} if best else set()
        assert names == expected - {f"model_{STEPS - 2}"}, (why, names)
        return resumed

    def random_kills(self, scenario: Scenario, kills: int, seed: int) -> collections.Counter:
        """Kill at random times and restart, in one folder until its run ends, then in another.
        Returns the number of starts by the checkpoint that they resumed from."""
        rng, done, starts = random.Random(seed), 0, collections.Counter[str]()
        length = self.server.run(scenario.program, self.folder(scenario)).seconds
        out = self.folder(scenario)
        while done < kills:
            ended = self.server.run(scenario.program, out, kill_after=rng.uniform(0, length))
            if ended.code == -9:
                done += 1
                starts[ended.resumed_from()] += 1
            else:
                assert ended.code == 0, ended.err
                self.resume(scenario, out, "after its end")
                out = self.folder(scenario)
        self.resume(scenario, out, f"kill {done} of seed {seed}")
        return starts


def is_complete(out: Path, step: int) -> bool:
    return checkpoint.find_damage(checkpoint.checkpoint_dir(out, step)) is None


STAGES = (  # of writing, by patterns of event names; the first match counts
    (r"(mkdir|unlink) \.(writable|in_use)?$", "locking and unlocking the folder"),
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
    """The faults to inject at an event; disk errors only at one save of a new run."""
    torn = ("torn",) if event.startswith("write") else ()
    full = {"new folder, fine-tuning": "full", "new folder, pre-training": "readonly"}.get(name)
    if full is None or re.search(r"model_[26]\.partial|model_4\.gone", event):
        return ("kill", *torn)
    return ("kill", *torn, full)


def table(results: list[tuple[str, str, str, Outcome]]) -> list[str]:
    """(start, fault, stage, outcome) counted by start, and by stage."""
    lines: list[str] = []
    for title, place in (("start", 0), ("while", 2)):
        groups: dict[tuple[str, str], list[Outcome]] = {}
        for row in results:
            groups.setdefault((row[place], row[1]), []).append(row[3])
        order = (*ORDER, *dict.fromkeys(row[0] for row in results))
        lines += ["", f"| {title} | fault | points | exit code | resumed from | ended identical |"]
        lines += ["|---|---|---|---|---|---|"]
        for (name, kind), outcomes in sorted(groups.items(), key=lambda g: order.index(g[0][0])):
            codes = ", ".join(str(code) for code in sorted({outcome.code for outcome in outcomes}))
            starts = collections.Counter(outcome.resumed_from for outcome in outcomes)
            resumed = ", ".join(f"{step} {count}" for step, count in sorted(starts.items()))
            # Always the number of points: a run that ends differently fails the assertions.
            lines.append(
                f"| {name} | {kind} | {len(outcomes)} | {codes} | {resumed} | {len(outcomes)} |"
            )
    return lines[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="at random times, per program")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path, required=True, help="Markdown, written at the end")
    flags = parser.parse_args()
    results: list[tuple[str, str, str, Outcome]] = []
    with tempfile.TemporaryDirectory() as place:
        soak = Soak(Path(place))
        for name, scenario in soak.scenarios.items():
            for event in scenario.events:
                for kind in kinds_for(name, event):
                    outcome = soak.fault(scenario, event, kind)
                    results.append((name, kind, stage_of(event), outcome))
                    print(f"{name}: {kind} at {event}: {outcome}", flush=True)
        lines = table(results)
        for name in ("new folder, fine-tuning", "new folder, pre-training"):
            kills = soak.random_kills(soak.scenarios[name], flags.kills, flags.seed)
            lines += [
                "",
                f"{name}, killed at {flags.kills} random times, each start resumed from: ",
            ]
            lines[-1] += ", ".join(f"{place} {count} times" for place, count in kills.items())
        soak.server.close()
    flags.table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
