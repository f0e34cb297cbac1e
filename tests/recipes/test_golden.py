import json
import math

import numpy as np
import pytest

from ablab.experiments import recipes
from tests.recipes.golden import FILE, RECIPES, STEPS, curves


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_train_as_they_did(recipe, request):
    if not recipe.startswith(("addition", "digit-addition", "grokking", "thinker")):
        request.getfixturevalue("tinyshakespeare")
    golden = json.loads(FILE.read_text())[recipe]
    found = curves(recipe)
    assert list(found) == list(golden)
    for label, losses in golden.items():
        assert len(losses) == STEPS
        np.testing.assert_allclose(found[label], losses, rtol=1e-4, err_msg=label)


def test_every_recipe_is_golden_and_has_a_question():
    assert sorted(recipes()) == sorted(RECIPES)
    assert all(question.endswith("?") for question in recipes().values())


def test_the_demo_starts_near_guessing():
    golden = json.loads(FILE.read_text())["addition"]
    for losses in golden.values():
        # Twelve tokens, all but equally likely at first.
        assert abs(losses[0] - math.log(12)) < 0.6
