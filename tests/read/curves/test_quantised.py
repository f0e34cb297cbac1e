"""Accuracies of few samples have few values, so that two flat pieces can have the same one."""

import warnings

import numpy as np
import pytest

from ablab.read.curves import read_curve


@pytest.mark.parametrize("seed", range(30))
def test_quantised_accuracies_are_read_without_a_warning(seed):
    rng = np.random.default_rng(seed)
    count, samples = int(rng.integers(30, 300)), int(rng.integers(4, 64))
    values = rng.binomial(samples, rng.uniform(0.02, 0.98), count) / samples
    values[: count // 3] = values[0]
    values[2 * count // 3 :] = values[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reading = read_curve(np.arange(count) * 10, values, direction="higher")
    assert not any(each.high == each.low for each in reading.transitions)
