"""A small, quick approach to a first plateau is not told."""

import numpy as np

from ablab.read.curves import read_curve
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
