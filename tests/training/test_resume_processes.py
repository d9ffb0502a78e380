"""A run resumed with another number of processes trains the epochs that were planned."""

import json

import pytest
from faults import Server
from test_resume_table import free_ports


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


@pytest.mark.parametrize(
    ("program", "before", "after", "total"),
    [
        # 48 rows, of which the two steps before the resume have seen 16 or 8.
        ("glue", 2, 1, 2 + 8 + 12),
        ("glue", 1, 2, 2 + 5 + 6),
        # 21 rows.
        ("pretrain", 2, 1, 2 + 2 + 6),
        ("pretrain", 1, 2, 2 + 2 + 3),
    ],
)
def test_epochs_are_kept(server, tmp_path, program, before, after, total):
    def run(processes, **fault):
        if processes > 1:
            fault["ports"] = free_ports()
        flags = "--num_train_epochs 2 --max_steps -1 --batch_size 4 --learning_rate 1e-3"
        return server.run(program, tmp_path / "out", flags, **fault)

    assert run(before, event="rename model_4.partial").code == -9
    resumed = run(after)
    assert resumed.code == 0 and resumed.resumed_from() == "model_2", resumed.err
    assert f"for 2 epochs there are now {total} steps in total" in resumed.err
    assert f"processes {before} before and {after} now: dropout masks" in resumed.err
    results = json.loads((tmp_path / "out" / "all_results.json").read_text())
    assert results["global_step"] == total and results["epoch"] == 2
    lines = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    rates = [entry["learning_rate"] for entry in map(json.loads, lines) if entry["kind"] == "train"]
    assert len(rates) == total and rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(rates[2] / (total - 2))
