"""The measure ``lead``: which of two curves changes first."""

import numpy as np
import pytest

from ablab.config import InputError
from ablab.experiments.measures import parse_measure
from ablab.read.measure_words import measure_words
from ablab.read.measures import _half_way, _lead
from ablab.read.run_curves import RunCurve

STEPS = np.arange(0, 1001, 10)


def curve(values):
    return RunCurve(STEPS, np.asarray(values, float), 1000)


def test_half_of_the_last_change():
    # A loss that rises from 4 to 8 at 200 and then falls, from 500 to 600 in a line, to 0.
    values = np.interp(STEPS, [0, 200, 500, 600, 1000], [4, 8, 8, 0, 0])
    assert _half_way(curve(values)) == pytest.approx(550)
    # One that falls to 1 at 300 and rises again, from 400 to 500, to 7.
    values = np.interp(STEPS, [0, 300, 400, 500, 1000], [4, 1, 1, 7, 7])
    assert _half_way(curve(values)) == pytest.approx(450)


def test_between_logged_steps_is_a_straight_line():
    coarse = RunCurve(np.array([0, 200, 400, 600]), np.array([4.0, 1.0, 7.0, 7.0]), 600)
    assert _half_way(coarse) == pytest.approx(300)


@pytest.mark.parametrize("values", [np.full(101, 2.0), np.sin(STEPS)])
def test_without_a_change_there_is_no_step(values):
    assert _half_way(curve(values)) is None


def test_a_change_that_ends_with_the_curve_is_not_half_done():
    """The last value is the one that is farthest from the end, the median of the last tenth."""
    noise = 0.1 * np.sin(STEPS[:-1])
    assert _half_way(curve([*noise, 1000.0])) is None


def test_lead_is_a_difference_of_steps():
    measure = parse_measure("lead(analysis/progress/excluded_loss, accuracy)")
    assert (measure.column, measure.other) == ("analysis/progress/excluded_loss", "eval_accuracy")
    early = curve(np.interp(STEPS, [0, 100, 200, 1000], [1, 1, 5, 5]))
    late = curve(np.interp(STEPS, [0, 600, 800, 1000], [8, 8, 0, 0]))
    assert _lead(early, late, measure).value == pytest.approx(550)
    assert _lead(late, early, measure).value == pytest.approx(-550)
    assert "eval_accuracy was not logged" in str(_lead(early, None, measure).reason)
    flat = curve(np.full(101, 2.0))
    assert "eval_accuracy has no change" in str(_lead(early, flat, measure).reason)
    words = measure_words("lead(train_loss, eval_loss)")
    assert words == "steps by which the training loss changes before the held-out loss"


@pytest.mark.parametrize("text", ["lead(eval_loss)", "lead(eval_loss, 3)", "lead(a, b, c)"])
def test_two_columns_are_needed(text):
    with pytest.raises(InputError, match="lead"):
        parse_measure(text)
