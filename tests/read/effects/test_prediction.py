import json

import numpy as np
import pytest

from ablab.config import InputError
from ablab.read.effects import gather, predict
from tests.read.effects.made import grid

WIDTHS = [4, 8, 16, 32, 64]


def results(random, levels=WIDTHS, noise=0.1):
    def value(width, seed):
        return float(2 * width**-0.5 * np.exp(noise * random.normal()))

    return gather(grid({"width": levels}, 3, value), ["width"], measure="loss")


def test_a_prediction_covers_a_setting_that_was_not_trained():
    random = np.random.default_rng(0)
    covered = []
    for _ in range(120):
        low, high = predict(results(random), "width", 128, form="power law").interval
        mean = np.exp(0.1 * random.normal(size=3).mean())
        covered.append(low <= 2 * 128**-0.5 * mean <= high)
    assert 0.88 < np.mean(covered) < 1


@pytest.mark.parametrize(("levels", "value"), [([4, 8, 16, 32], 64), (WIDTHS, 2)])
def test_where_the_relation_is_not_decided_both_are_covered(levels, value):
    random = np.random.default_rng(0)
    covered, either = [], 0
    for _ in range(150):
        found = predict(results(random, levels, 0.3), "width", value)
        mean = np.exp(0.3 * random.normal(size=3).mean())
        covered.append(found.interval[0] <= 2 * value**-0.5 * mean <= found.interval[1])
        either += found.either
        assert ("power law or exponential" in found.sentence()) == found.either
    assert np.mean(covered) > 0.9
    assert either > 30


def test_it_says_what_it_predicts():
    found = predict(results(np.random.default_rng(1), noise=0.01), "width", 128)
    assert (found.form, found.either) == ("power law", False)
    assert found.extrapolates
    assert found.predicted == pytest.approx(2 * 128**-0.5, rel=0.05)
    assert "width=128 will have loss 0.1" in found.sentence()
    assert json.loads(json.dumps(found.as_data()))["interval"] == list(found.interval)


def test_three_values_are_too_few():
    with pytest.raises(InputError, match="too few for a prediction"):
        predict(results(np.random.default_rng(1), [4, 8, 16]), "width", 32)


def test_a_power_law_needs_a_positive_value():
    with pytest.raises(InputError, match="needs positive values"):
        predict(results(np.random.default_rng(1)), "width", -1, form="power law")
