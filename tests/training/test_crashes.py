"""Killed at every stage of what a run writes, or refused by the disk: the next start goes on from
the newest whole checkpoint and ends bit for bit as the run that nothing stopped.

A part of scripts/soak.sh, which does every single point and a hundred random kills.
"""

import shutil
import subprocess
from pathlib import Path

import pytest
import same
import soak
from faults import STEPS

from bert_paddle.training import checkpoint

STORIES = (
    "new folder, fine-tuning",
    "new folder, pre-training",
    "newest damaged",
    "all damaged",
    "killed while replacing",
)


@pytest.fixture(scope="module")
def soaking(tmp_path_factory):
    one = soak.Soak(tmp_path_factory.mktemp("soak"))
    yield one
    one.server.close()


def one_of_each_stage(events: list[str]) -> list[str]:
    """The middle one of the events of each stage."""
    by_stage: dict[str, list[str]] = {}
    for event in events:
        by_stage.setdefault(soak.stage_of(event), []).append(event)
    return [group[len(group) // 2] for group in by_stage.values()]


@pytest.mark.parametrize("name", STORIES)
def test_killed_at_each_stage(soaking, name):
    story = soaking.stories[name]
    chosen = one_of_each_stage(story.events)
    # Pre-training writes as fine-tuning does: three stages show that it goes on as well.
    if story.program == "pretrain":
        chosen = [e for e in chosen if e.startswith(("append", "rename", "write "))]
    assert len(chosen) >= 3
    for event in chosen:
        soaking.fault(story, event, "kill")


def test_half_a_file_is_no_checkpoint(soaking):
    story = soaking.stories["new folder, fine-tuning"]
    for event in story.events:
        if event.startswith("write") and ("model_4" in event or "metrics" in event):
            soaking.fault(story, event, "torn")


@pytest.mark.parametrize("kind", ["full", "readonly"])
def test_a_refusal_of_the_disk_is_one_line_and_nothing_is_lost(soaking, kind):
    story = soaking.stories["new folder, fine-tuning"]
    # Full at a save; read-only at all else.
    some = [e for e in story.events if ("model_4" if kind == "full" else " .") in e]
    chosen = one_of_each_stage(some)
    assert len(chosen) >= 4
    for event in chosen:
        soaking.fault(story, event, kind)


def test_killed_at_random_times(soaking):
    """Where the kills fall, the machine decides; how long each run lives, the seed."""
    soaking.random_kills(soaking.stories["new folder, fine-tuning"], kills=10, seed=1)


def test_a_limit_on_file_sizes_is_a_full_disk(soaking, tmp_path):
    story, out = soaking.stories["new folder, fine-tuning"], tmp_path / "out"
    ended = soaking.server.run("glue", out, file_size=20_000)
    assert ended.code == 1 and "Traceback" not in ended.err
    assert ended.err.splitlines()[-1].startswith("error: the disk is full")
    assert not checkpoint.run_artifacts(out) or not checkpoint.saved_steps(out)
    soaking.resume(story, out, "after the limit")


@pytest.fixture
def small_disk(tmp_path):
    """A file system in memory, of a size that can be changed."""
    place = tmp_path / "small"
    place.mkdir()

    def mount(options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(place)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")

    if shutil.which("mount") is None:
        pytest.skip("there is no mount")
    mount("size=1m")
    yield place, lambda options: mount(f"remount,{options}")
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_full_and_then_has_space(soaking, small_disk):
    out, remount = small_disk
    story = soaking.stories["new folder, fine-tuning"]
    one = sum(p.stat().st_size for p in (story.whole / "model_2").rglob("*"))
    remount(f"size={int(1.6 * one) // 4096 * 4}k")
    ended = soaking.server.run("glue", out)
    assert ended.code == 1 and "Traceback" not in ended.err
    assert ended.err.splitlines()[-1].startswith("error: the disk is full")
    assert checkpoint.saved_steps(out) == [2] and soak.whole(out, 2)
    assert not list(out.glob("*.partial"))  # what was half built does not fill the disk
    remount("size=4m")
    assert soaking.resume(story, out, "with space again").went_on_from() == "model_2"


def test_a_read_only_folder_is_told_and_left_as_it_is(soaking, small_disk):
    out, remount = small_disk
    story = soaking.stories["new folder, fine-tuning"]
    shutil.copytree(story.whole, out, dirs_exist_ok=True)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    remount("ro,size=4m")
    ended = soaking.server.run("glue", out)
    remount("rw,size=4m")
    assert ended.code == 2 and "cannot be written" in ended.err.splitlines()[-1]
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*")}


def flipped(text: bytes, at: int) -> bytes:
    return text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]


def test_damage_to_any_file_is_seen_and_named(soaking, tmp_path):
    whole = soaking.stories["new folder, fine-tuning"].whole
    for name in ("model_2", "model_4"):
        shutil.copytree(whole / name, tmp_path / name)
    harms = {
        "cut off": lambda text: text[: len(text) // 2],
        "emptied": lambda text: b"",
        "a flipped bit": lambda text: flipped(text, len(text) // 2),
    }
    for path in sorted(p for p in (tmp_path / "model_4").rglob("*") if p.is_file()):
        text = path.read_bytes()
        for harm, change in harms.items():
            path.write_bytes(change(text))
            told: list[str] = []
            found = checkpoint.latest_complete(tmp_path, told.append)
            assert found == tmp_path / "model_2", (path.name, harm)
            # A manifest with another digest in it speaks of the file that does not have it.
            named = "model_4" if path.name == checkpoint.MANIFEST else path.name
            assert len(told) == 1 and named in told[0], (path.name, harm)
        path.write_bytes(text)
    assert checkpoint.latest_complete(tmp_path, print) == tmp_path / "model_4"


def test_the_comparison_sees_a_difference(soaking, tmp_path):
    """A harness that finds everything equal would pass every test here."""
    whole = soaking.stories["new folder, fine-tuning"].whole
    for name, one, two in (
        (f"model_6/{checkpoint.STATE}", b'"step": 6', b'"step": 7'),
        ("metrics.jsonl", b'"loss": 0.', b'"loss": 1.'),
        ("all_results.json", b'"global_step": 6', b'"global_step": 5'),
    ):
        other = Path(shutil.copytree(whole, tmp_path / name.replace("/", "-")))
        text = (other / name).read_bytes()
        assert one in text
        (other / name).write_bytes(text.replace(one, two, 1))
        assert same.differences(whole, other, STEPS), name
    assert not same.differences(whole, whole, STEPS)
