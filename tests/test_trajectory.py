"""Every step's loss of short trainings beside that of transformers' Trainer in float32, on the same
rows from the same weights (tests/reference/trajectory.py computed and stored the latter)."""

from dataclasses import replace

import pytest

from benchmarks.trajectory import __main__ as trajectory
from benchmarks.trajectory import ours, recipes

FOUND = ours.sources()  # before the fixtures take the variables away
STORED = ours.stored()

both = pytest.mark.parametrize("kernels", (True, False), ids=("kernels", "layers"))
layers_slow = pytest.mark.parametrize(
    "kernels",
    (pytest.param(True, id="kernels"), pytest.param(False, id="layers", marks=pytest.mark.slow)),
)


def largest_difference(recipe, kernels, place) -> float:
    try:
        got = ours.losses(recipe, kernels, place, FOUND)
    except ours.MissingDataError as why:
        pytest.skip(str(why))
    wanted = STORED[recipe.name]["losses"]
    assert len(got) == len(wanted) == recipe.steps
    return max(abs(a - b) for a, b in zip(got, wanted, strict=True))


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


@pytest.mark.real_data
@pytest.mark.real_weights
@layers_slow
def test_every_step_of_finetuning(kernels, tmp_path):
    recipe = recipes.BY_NAME["finetuning"]
    assert largest_difference(recipe, kernels, tmp_path) < recipe.tolerance


@pytest.mark.real_data
@layers_slow
def test_every_step_of_pretraining(kernels, tmp_path):
    recipe = recipes.BY_NAME["pretraining"]
    assert largest_difference(recipe, kernels, tmp_path) < recipe.tolerance


@pytest.mark.real_data
def test_every_step_of_pretraining_with_clipping(tmp_path):
    # By the kernels, which sum the gradients' squares in float64 as this reference does. Without
    # them the sum is in float32 (benchmarks/trajectory/README.md).
    recipe = recipes.BY_NAME["pretraining_clipped"]
    assert largest_difference(recipe, True, tmp_path) < recipe.tolerance


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
