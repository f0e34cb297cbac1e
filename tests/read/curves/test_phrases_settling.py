"""A small, quick approach to a first plateau is not told."""

import numpy as np
import pytest

from ablab.read.curves import Floor, Reading, read_curve
from ablab.read.curves.phrases import stays
from ablab.read.curves.sentences import sentence


def told(start):
    steps = np.arange(1, 2001)
    rng = np.random.default_rng(5)
    clean = 2.302585 + (start - 2.302585) * np.exp(-(steps - 1) / 20)
    clean = np.where(steps > 800, clean * np.exp(-0.01 * (steps - 800)) + 1e-3, clean)
    values = clean * np.exp(0.004 * rng.standard_normal(len(steps)))
    return sentence(read_curve(steps, values, levels={"log(10)": 2.302585}))


def test_a_start_five_percent_above_the_plateau_is_not_told():
    assert told(2.42).startswith("log(10) until 8")


def test_a_start_at_three_times_the_plateau_is_told():
    assert told(7.0).startswith("falls from 6.7")


@pytest.mark.parametrize(
    ("column", "start", "level", "noise", "settled"),
    [
        ("eval_accuracy", 0.12, 0.05, 0.01, True),  # of an accuracy, a tenth of its range
        ("eval_accuracy", 0.20, 0.05, 0.01, False),
        ("grad/mean", 0.05, 0.01, 0.01, False),  # of another column, a tenth of its own size
        ("grad/mean", 1050.0, 1000.0, 0.01, True),
        ("grad/mean", -1e-5, -1.2e-5, 1e-7, False),
        ("grad/mean", -1e-5, 1e-5, 1e-5, True),  # noise around zero
    ],
)
def test_the_level_that_a_curve_stays_at_is_near_its_start(column, start, level, noise, settled):
    direction = "higher" if column == "eval_accuracy" else "lower"
    found = Reading(
        column, 1, 600, start, level, level, 600, noise, floor=Floor(level, 100, None, 1.0),
        positive=False, direction=direction,
    )  # fmt: skip
    assert stays(found) == settled
