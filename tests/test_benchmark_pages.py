"""Pages of results over seeds and of loss curves: what is made of runs, from invented ones."""

import json

import pytest

from benchmarks import accuracy, curves, kept, seeds


def test_two_sides_in_standard_errors():
    # variances 1 and 4 over 3 and 3: the error is sqrt(5 / 3); the means are 2 apart
    cells = seeds.compared([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert cells == "| 2.0000 | 4.0000 | -2.0000 | 1.2910 | 1.5 |"


def test_sides_without_any_scatter():
    assert seeds.compared([1.0, 1.0], [1.0, 1.0]).endswith("| 0.0000 | none |")
    assert seeds.compared([1.0, 1.0], [2.0, 2.0]).endswith("| 0.0000 | infinite |")


def test_page_of_accuracy(tmp_path):
    for task, (metrics, _) in accuracy.TASKS.items():
        for shift, side in enumerate(("after", "before")):  # "grouped" was not run
            for seed in (1, 2, 3):
                folder = tmp_path / task / side / f"seed_{seed}"
                folder.mkdir(parents=True)
                names = [*metrics.split(), "eval_loss", "train_runtime"]
                values = {name: seed / 10 + shift for name in names}
                (folder / "all_results.json").write_text(json.dumps(values))
                where = {"date": "2026-11-21", "commit": f"c{shift}", "machine": "one"}
                (folder / "benchmark.json").write_text(json.dumps({"where": where}))
    (tmp_path / "MRPC" / "after" / "seed_4").mkdir()  # begun, not ended
    accuracy.write(tmp_path, tmp_path / "page")
    page = (tmp_path / "page.md").read_text()
    assert "| before | 3 | 1.3000 | 1.3000 | 1 |" in page
    assert "| eval_accuracy | 0.2000 | 1.2000 | -1.0000 | 0.0816 | 12.2 |" in page
    assert "--cpu_kernels 0" in page and "rouped" not in page
    found = json.loads((tmp_path / "page.json").read_text())
    assert [run["seed"] for run in found["MRPC"]["after"]] == [1, 2, 3]
    assert "2026-11-21, commit c0 and commit c1, one." in page


def test_sides_with_one_seed_in_common_are_not_compared():
    runs = [[{"seed": seed, "loss": 0.5} for seed in some] for some in ([1, 2], [2, 3])]
    assert accuracy.compared("after", runs[0], "before", runs[1], ["loss"]) == []
    assert accuracy.compared("after", runs[0], "before", runs[0], ["loss"])


def test_a_run_is_kept_while_its_command_is_the_same(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import os, pathlib, sys\n"
        "out = pathlib.Path(sys.argv[2])\n"
        "out.mkdir(exist_ok=True)\n"
        "(out / 'all_results.json').write_text(sys.argv[1] + os.environ['LEVER'])\n"
    )
    out = tmp_path / "out"
    for word, lever in (("a", "1"), ("b", "1"), ("b", "2")):
        kept.run([str(program), word, str(out)], out, {"LEVER": lever})
        assert (out / "all_results.json").read_text() == word + lever
    changed = (out / "all_results.json").stat().st_mtime_ns
    kept.run([str(program), "b", str(out)], out, {"LEVER": "2"})
    assert (out / "all_results.json").stat().st_mtime_ns == changed
    assert kept.where(out)["machine"] in kept.environment_line([kept.where(out)])


def _write_curves(folder, updates=curves.UPDATES):
    for lever in curves.LEVERS:
        for seed in curves.seeds_of(lever):
            for side in (lever.ours, lever.without):
                shift = 0.25 * ("cpu_kernels" in side.flags)
                run = folder / side.name() / f"seed_{seed}"
                run.mkdir(parents=True, exist_ok=True)
                records = [
                    {"kind": "train", "step": step, "loss": seed + shift * (step == 150)}
                    for step in range(1, updates + 1)
                ]
                lines = [json.dumps(record) for record in records]
                (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")


def test_page_of_curves(tmp_path):
    _write_curves(tmp_path)
    curves.write(tmp_path, tmp_path / "page")
    page = (tmp_path / "page.md").read_text()
    assert "| 1.000000, 1.000000 | 2.5e-01 | 150 |" in page
    # one update of 50 is a quarter off, in the third window
    assert "| kernels | 101-150 | 2.0000 | 2.0050 | -0.0050 | 0.8165 | 0.0 |" in page
    assert all(lever.name in page for lever in curves.LEVERS)
    found = json.loads((tmp_path / "page.json").read_text())
    assert len(found["losses"]["default seed 3"]) == curves.UPDATES


def test_curve_that_was_cut_off_is_not_compared(tmp_path):
    _write_curves(tmp_path, curves.UPDATES - 1)
    with pytest.raises(SystemExit, match="199 updates, not 200"):
        curves.write(tmp_path, tmp_path / "page")


def test_sides_have_folders_of_their_own():
    sides = {side for lever in curves.LEVERS for side in (lever.ours, lever.without)}
    assert len({side.name() for side in sides}) == len(sides)
