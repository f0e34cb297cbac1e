"""A floor is said only of a curve that is shown to be flat; real curves are described in said/."""

import numpy as np
import pytest

from ablab.read.curves import read_curve
from ablab.read.curves.sentences import group_sentence, sentence
from tests.read.curves.real import real

STEPS = np.arange(1, 2001)
LOG_10 = float(np.log(10))


def noisy(clean, noise=0.01, seed=0):
    return clean * np.exp(noise * np.random.default_rng(seed).standard_normal(len(clean)))


@pytest.mark.parametrize("name", ["attention_gelu", "attention_tanh"])
def test_a_curve_that_still_falls_has_no_floor(name):
    reading = read_curve(*real(name))
    assert reading.floor is None
    assert "floor" not in sentence(reading)


def test_a_floor_begins_where_the_curve_is_at_its_level():
    steps, values = real("bigram")
    floor = read_curve(steps, values).floor
    assert floor.level == pytest.approx(2.46, abs=0.01)
    assert 5_500 <= floor.first <= 8_000
    early = values[(steps >= floor.first) & (steps < floor.first + 1_000)]
    assert early.mean() == pytest.approx(floor.level, rel=0.015)


def test_a_level_that_is_reached_early_and_never_left_begins_early():
    found = read_curve(*real("chance"), levels={"log(10)": LOG_10})
    assert found.floor.name == "log(10)"
    # The curve is 1.1% above its level on average in the steps 76 to 100, 0.4% in 151 to 200.
    assert 75 <= found.floor.first <= 200
    assert sentence(found) == f"stays at log(10) from {found.floor.first:,}"


def test_a_level_that_is_left_in_the_end_is_no_floor():
    reading = read_curve(*real("permuted"), levels={"log(10)": LOG_10})
    assert reading.floor is None
    assert reading.end == pytest.approx(2.283, rel=0.003)


@pytest.mark.parametrize("noise", [0.002, 0.01, 0.03])
@pytest.mark.parametrize("seed", range(3))
def test_a_steady_fall_by_three_percent_is_no_floor_and_a_level_is_one(noise, seed):
    approach = 2 * np.exp(-STEPS / 60)
    falls = (2.4 + approach) * (1 - 0.03 * np.clip((STEPS - 1000) / 1000, 0, 1))
    assert read_curve(STEPS, noisy(falls, noise, seed)).floor is None
    floor = read_curve(STEPS, noisy(2.4 + approach, noise, seed)).floor
    assert floor.level == pytest.approx(2.4, rel=0.005)
    # 2 exp(-t / 60) is 1% of 2.4 at t = 265, and as large as the noise of 3% at 199.
    assert 190 <= floor.first <= 450


def test_what_cannot_be_seen_beside_the_fall_does_not_matter():
    # Falls by 18 in the logarithm until 720, then by another 1%.
    deep = np.exp(-np.minimum(STEPS, 720) / 40) * (1 - 0.01 * np.clip((STEPS - 720) / 1280, 0, 1))
    floor = read_curve(STEPS, noisy(deep, 0.001)).floor
    assert floor is not None
    assert floor.first == pytest.approx(720, abs=25)
    shallow = (1 + np.exp(-STEPS / 40)) * (1 - 0.01 * np.clip((STEPS - 720) / 1280, 0, 1))
    assert read_curve(STEPS, noisy(shallow, 0.001)).floor is None


def test_few_values_at_one_level_are_a_floor():
    steps = np.arange(0, 1300, 100)
    values = [0.05, 0.34, 0.36, 0.36, 0.38, 0.38, 0.45, 0.484, 0.483, 0.485, 0.484, 0.483, 0.484]
    floor = read_curve(steps, values, "eval_accuracy").floor
    assert (floor.first, floor.level) == (700, pytest.approx(0.484, abs=0.001))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("start", [2.7, 2.95])
def test_a_curve_that_never_leaves_chance_stays_there(start, seed):
    """As runs of the addition that learn nothing: most of the approach is done by step 100."""
    steps = np.arange(1, 601)
    approach = 0.55 * np.exp(-steps / 15) + 0.4 * np.exp(-steps / 70) + 0.02 * np.exp(-steps / 300)
    values = noisy(LOG_10 + (start - LOG_10) * approach, 0.002, seed)
    found = read_curve(steps, values, levels={"log(10)": LOG_10})
    # 1% above log(10) at about 70 (2.7) and 110 (2.95), 0.2% at about 210 and 320.
    assert 70 <= found.floor.first <= 320
    assert sentence(found) == f"stays at log(10) from {found.floor.first:,}"
    # Seeds that stay there are not said to have come to a floor.
    assert group_sentence([found, found]) == "stays at log(10)"


def test_a_fall_to_a_level_leads_to_a_floor():
    values = noisy(LOG_10 + 3 * np.exp(-STEPS / 60))
    found = read_curve(STEPS, values, levels={"log(10)": LOG_10})
    assert "; floor log(10) from " in sentence(found)
