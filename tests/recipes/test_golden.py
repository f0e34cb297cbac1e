import json
import math

import numpy as np
import pytest

from ablab.experiments import experiment, recipes
from ablab.train.method import Method
from tests.recipes.golden import (
    AMPLIFIED_FROM,
    FILE,
    PRECISE,
    RECIPES,
    SAME_RUNS,
    STEPS,
    amplified_rounding,
    curves,
    precise_curves,
)

GOLDEN = json.loads(FILE.read_text())


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_train_as_they_did(recipe, request):
    if not recipe.startswith(("addition", "digit-addition", "grokking", "thinker")):
        request.getfixturevalue("tinyshakespeare")
    found = curves(recipe)
    assert list(found) == list(GOLDEN[recipe])
    tolerances = tolerances_of(recipe)
    for label, losses in GOLDEN[recipe].items():
        assert len(losses) == STEPS
        apart = np.abs(np.array(found[label]) / losses - 1)
        assert (apart <= tolerances[label]).all(), (label, apart, tolerances[label])


@pytest.mark.parametrize("recipe", PRECISE)
def test_in_float64_they_do_on_any_processor(recipe):
    golden = GOLDEN[f"{recipe} in float64"]
    found = precise_curves(recipe)
    assert list(found) == list(golden)
    for label, losses in golden.items():
        assert len(losses) == STEPS
        # A loss that is computed in single precision is one of its numbers, or the next one.
        single = "loss.dtype=float32" in label
        tolerance = 2 * np.finfo(np.float32).eps if single else 1e-8
        np.testing.assert_allclose(found[label], losses, rtol=tolerance, err_msg=label)


@pytest.mark.parametrize(
    ("recipe", "method", "seeds"),
    [
        ("addition", Method("stack"), 3),
        ("thinker-size", Method("stack"), 2),
        ("digit-addition-spikes", Method("stack", True, "innermost", "plain", rows=1), 2),
        pytest.param(
            "digit-addition-decay",
            Method("solo", compiled=True, attention="plain"),
            1,
            marks=pytest.mark.compiled,
        ),
    ],
)
def test_other_methods_train_the_same_curves(recipe, method, seeds):
    agree(curves(recipe, method=method, seeds=seeds), GOLDEN[recipe])


def tolerances_of(recipe):
    """The largest relative difference of each step's loss, by variant."""
    tolerances = {label: np.full(STEPS, 1e-4) for label in GOLDEN[recipe]}
    if recipe in AMPLIFIED_FROM:
        late = slice(AMPLIFIED_FROM[recipe], None)
        for label, change in amplified_rounding(recipe).items():
            tolerances[label][late] = np.maximum(1e-4, 3 * change[late])
    return tolerances


def agree(found, golden, tolerance=1e-4):
    assert list(found) == list(golden)
    for label, losses in golden.items():
        np.testing.assert_allclose(found[label], losses, rtol=tolerance, err_msg=label)


def test_every_recipe_is_golden_and_has_a_question():
    assert sorted(recipes()) == sorted([*RECIPES, *SAME_RUNS])
    assert all(question.endswith("?") for question in recipes().values())


@pytest.mark.parametrize("recipe", SAME_RUNS)
def test_recipes_that_look_at_runs_of_others_have_their_ids(recipe):
    ids = {run.id for run in experiment(SAME_RUNS[recipe]).runs}
    assert all(variant.runs[0].id in ids for variant in experiment(recipe).variants)


def test_the_demo_starts_near_guessing():
    for losses in GOLDEN["addition"].values():
        # Twelve tokens, all but equally likely at first.
        assert abs(losses[0] - math.log(12)) < 0.6
