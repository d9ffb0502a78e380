"""A run is killed, or the disk fails, at every stage of what it writes: the next start resumes from
the newest complete checkpoint and ends bit for bit as the uninterrupted run.

A part of scripts/soak.sh, which tests every single write and a hundred random kills.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import same
import soak
from faults import STEPS

from bert_paddle.training import checkpoint, run_files

SCENARIOS = (
    "new folder, fine-tuning",
    "new folder, pre-training",
    "newest damaged",
    "all damaged",
    "killed while replacing",
)


@pytest.fixture(scope="module")
def soaking(tmp_path_factory):
    soaking = soak.Soak(tmp_path_factory.mktemp("soak"))
    yield soaking
    soaking.server.close()


def one_of_each_stage(events: list[str]) -> list[str]:
    """The middle event of each stage."""
    by_stage: dict[str, list[str]] = {}
    for event in events:
        by_stage.setdefault(soak.stage_of(event), []).append(event)
    return [group[len(group) // 2] for group in by_stage.values()]


@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_each_stage(soaking, name):
    scenario = soaking.scenarios[name]
    chosen = one_of_each_stage(scenario.events)
    # Pre-training writes the same way as fine-tuning, and the damaged folders as a new one: some
    # stages are enough, different ones.
    if scenario.program == "pretrain":
        chosen = [e for e in chosen if e.startswith(("append", "rename"))]
    elif name != SCENARIOS[0]:
        chosen = chosen[SCENARIOS.index(name) % 3 :: 3]
    assert len(chosen) >= 2
    for event in chosen:
        soaking.fault(scenario, event, "kill")


def test_truncated_file_is_not_a_checkpoint(soaking):
    scenario = soaking.scenarios["new folder, fine-tuning"]
    files = ("model.safetensors", "optimizer.safetensors", "train_state.json", "manifest.json")
    for file in files:
        written = [e for e in scenario.events if re.match(rf"write.* model_4.*{file}", e)]
        assert len(written) == 1
        soaking.fault(scenario, written[0], "torn")


@pytest.mark.parametrize("kind", ["full", "readonly"])
def test_disk_error_is_one_line_and_nothing_is_lost(soaking, kind):
    scenario = soaking.scenarios["new folder, fine-tuning"]
    # Full at a save; read-only elsewhere.
    matching = [e for e in scenario.events if ("model_4" if kind == "full" else " .") in e]
    chosen = one_of_each_stage(matching)
    assert len(chosen) >= 4
    for event in chosen:
        soaking.fault(scenario, event, kind)


def test_killed_at_random_times(soaking):
    """The seed determines how long each run lives; the machine's speed, what it is doing then."""
    soaking.random_kills(soaking.scenarios["new folder, fine-tuning"], kills=5, seed=1)


def test_file_size_limit_is_reported_as_full_disk(soaking, tmp_path):
    scenario, out = soaking.scenarios["new folder, fine-tuning"], tmp_path / "out"
    ended = soaking.server.run("glue", out, file_size=20_000)
    assert ended.code == 1 and "Traceback" not in ended.err
    assert ended.err.splitlines()[-1].startswith("error: the disk is full")
    assert not run_files.run_artifacts(out) or not checkpoint.saved_steps(out)
    soaking.resume(scenario, out, "after the limit")


@pytest.fixture
def small_disk(tmp_path):
    """A small in-memory file system, and a function that remounts it."""
    place = tmp_path / "small"
    place.mkdir()

    def mount(options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(place)]
        completed = subprocess.run(command, capture_output=True, text=True)
        if completed.returncode:
            pytest.skip(f"mounting is not allowed here: {completed.stderr.strip()}")

    if shutil.which("mount") is None:
        pytest.skip("no mount command")
    mount("size=1m")
    yield place, lambda options: mount(f"remount,{options}")
    subprocess.run(["umount", str(place)], check=True)


def test_full_disk_then_resume_with_space(soaking, small_disk):
    out, remount = small_disk
    scenario = soaking.scenarios["new folder, fine-tuning"]
    size = sum(p.stat().st_size for p in (scenario.reference / "model_2").rglob("*"))
    remount(f"size={int(1.6 * size) // 4096 * 4}k")
    ended = soaking.server.run("glue", out)
    assert ended.code == 1 and "Traceback" not in ended.err
    assert ended.err.splitlines()[-1].startswith("error: the disk is full")
    assert checkpoint.saved_steps(out) == [2] and soak.is_complete(out, 2)
    assert not list(out.glob("*.partial"))  # a partial checkpoint does not fill the disk
    remount("size=4m")
    assert soaking.resume(scenario, out, "with space again").resumed_from() == "model_2"


def test_read_only_folder_is_an_error_and_unchanged(soaking, small_disk):
    out, remount = small_disk
    scenario = soaking.scenarios["new folder, fine-tuning"]
    shutil.copytree(scenario.reference, out, dirs_exist_ok=True)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    remount("ro,size=4m")
    ended = soaking.server.run("glue", out)
    remount("rw,size=4m")
    assert ended.code == 2 and "cannot be written" in ended.err.splitlines()[-1]
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*")}


def flip_bit(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_damage_to_any_file_is_detected_and_named(soaking, tmp_path):
    reference = soaking.scenarios["new folder, fine-tuning"].reference
    for name in ("model_2", "model_4"):
        shutil.copytree(reference / name, tmp_path / name)
    damages = {
        "truncated": lambda content: content[: len(content) // 2],
        "emptied": lambda content: b"",
        "a flipped bit": lambda content: flip_bit(content, len(content) // 2),
    }
    for path in sorted(p for p in (tmp_path / "model_4").rglob("*") if p.is_file()):
        content = path.read_bytes()
        for damage, apply in damages.items():
            path.write_bytes(apply(content))
            warnings: list[str] = []
            latest = checkpoint.latest_complete(tmp_path, warnings.append)
            assert latest == tmp_path / "model_2", (path.name, damage)
            # A changed digest in the manifest is reported for the file that no longer matches.
            named = "model_4" if path.name == checkpoint.MANIFEST_FILE else path.name
            assert len(warnings) == 1 and named in warnings[0], (path.name, damage)
        path.write_bytes(content)
    assert checkpoint.latest_complete(tmp_path, print) == tmp_path / "model_4"


def test_the_comparison_detects_a_difference(soaking, tmp_path):
    """A comparison that finds everything equal would pass every test here."""
    reference = soaking.scenarios["new folder, fine-tuning"].reference
    for name, old, new in (
        (f"model_6/{checkpoint.STATE_FILE}", b'"step": 6', b'"step": 7'),
        ("metrics.jsonl", b'"loss": 0.', b'"loss": 1.'),
        ("all_results.json", b'"global_step": 6', b'"global_step": 5'),
    ):
        other = Path(shutil.copytree(reference, tmp_path / name.replace("/", "-")))
        content = (other / name).read_bytes()
        assert old in content
        (other / name).write_bytes(content.replace(old, new, 1))
        assert same.differences(reference, other, STEPS), name
    assert not same.differences(reference, reference, STEPS)
