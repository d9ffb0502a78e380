"""Every step's loss of short trainings beside that of transformers' Trainer in float32, on the same
rows from the same weights (tests/reference/trajectory.py computed and stored the latter)."""

from dataclasses import replace

import pytest

from benchmarks.trajectory import __main__ as trajectory
from benchmarks.trajectory import ours, recipes
from bert_paddle.common import run_log
from bert_paddle.training.step import Trainer

FOUND = ours.sources()  # before the fixtures take the variables away
STORED = ours.stored()

both = pytest.mark.parametrize("kernels", (True, False), ids=("kernels", "layers"))


class EnoughSteps(Exception):
    pass


def largest_difference(recipe, kernels, place, steps=None) -> float:
    """steps: the run ends after so many of the recipe's, whose schedule stays the same."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        if steps:
            _stop_after(steps, monkeypatch)
        try:
            got = ours.losses(recipe, kernels, place, FOUND)
        except ours.MissingDataError as why:
            pytest.skip(str(why))
        except EnoughSteps:
            records = run_log.read_metrics(place / "out")
            got = [record["loss"] for record in records if record["kind"] == "train"]
    wanted = STORED[recipe.name]["losses"]
    assert len(wanted) == recipe.steps and len(got) == (steps or recipe.steps)
    return max(abs(a - b) for a, b in zip(got, wanted, strict=not steps))


def _stop_after(steps, monkeypatch) -> None:
    original = Trainer.step

    def step(self, micro_batches, lr, number, signals):
        if number > steps:
            raise EnoughSteps
        return original(self, micro_batches, lr, number, signals)

    monkeypatch.setattr(Trainer, "step", step)


def test_the_reference_is_of_these_recipes():
    assert STORED.keys() == recipes.BY_NAME.keys()
    for recipe in recipes.RECIPES:
        settings = STORED[recipe.name]["settings"]
        assert settings == {name: getattr(recipe, name) for name in settings}


@both
@pytest.mark.parametrize(
    "name", ("tiny_finetuning", "tiny_pretraining", "tiny_pretraining_decayed")
)
def test_every_step_of_a_small_model(name, kernels, tmp_path):
    recipe = recipes.BY_NAME[name]
    assert largest_difference(recipe, kernels, tmp_path) < recipe.tolerance


@pytest.mark.parametrize(
    "setting", ("learning_rate", "warmup", "weight_decay", "epsilon", "max_grad_norm")
)
@pytest.mark.parametrize("name", ("tiny_finetuning", "tiny_pretraining"))
def test_another_setting_is_seen(name, setting, tmp_path):
    recipe = recipes.BY_NAME[name]
    other = {
        "learning_rate": recipe.learning_rate * 1.01,
        "warmup": recipe.warmup + 1,
        "weight_decay": recipe.weight_decay / 2,
        "epsilon": recipe.epsilon * 2,
        "max_grad_norm": 0.0,
    }
    changed = replace(recipe, **{setting: other[setting]})
    assert largest_difference(changed, True, tmp_path) > 3 * recipe.tolerance


REAL = [pytest.param("finetuning", marks=pytest.mark.real_weights), "pretraining"]
REAL += ["pretraining_clipped"]


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_the_first_steps_on_real_rows(name, tmp_path):
    """Beyond the warm-up."""
    recipe = recipes.BY_NAME[name]
    steps = 2 * recipe.warmup
    assert largest_difference(recipe, True, tmp_path, steps) < recipe.tolerance


@pytest.mark.slow  # up to 40 s each; the fast tests have the first steps of each
@pytest.mark.real_data
@pytest.mark.real_weights
@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("finetuning", True),
        ("finetuning", False),
        ("pretraining", True),
        ("pretraining", False),
        # By the kernels, which sum the gradients' squares in float64 as this reference does.
        # Without them the sum is in float32 (benchmarks/trajectory/README.md).
        ("pretraining_clipped", True),
    ],
)
def test_every_step_on_real_rows(name, kernels, tmp_path):
    recipe = recipes.BY_NAME[name]
    assert largest_difference(recipe, kernels, tmp_path) < recipe.tolerance


def test_page():
    compared = []
    for recipe in recipes.RECIPES:
        wanted = STORED[recipe.name]["losses"]
        shifted = [wanted[0] + 0.5, *wanted[1:]]
        compared.append(trajectory.Compared(recipe, wanted, {True: wanted, False: shifted}))
    where = {"date": "2026-11-28", "commit": "c", "machine": "m", "versions": {"ours": {"a": "1"}}}
    text = trajectory.page(compared, {True: (2.0, 2.0), False: (1.0, 2.0)}, STORED, where)
    mean = 0.5 / recipes.RECIPES[0].steps
    assert f"CoLA | 60 | 0.0e+00 | 0.0e+00 | 5.0e-01 | {mean:.1e} |" in text
    assert "| ours, `--cpu_kernels 0` | 1.0000000 | 2.0000000 | 5.0e-01 |" in text
    assert "Ours: 2026-11-28, commit c, m; a 1." in text
