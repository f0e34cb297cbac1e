"""What is said of runs that go on after values that are not finite, or end with one."""

import numpy as np
import polars as pl
import pytest

from ablab.read.curves import read_curve
from ablab.read.curves.sentences import group_sentence, sentence
from ablab.read.measures import measure_table
from tests.read.filled import fill, grid

EVALUATIONS = {0: [3.0, 2.0, np.inf], 1: [3.0, np.inf, 1.5], 2: [3.0, 2.5, 2.0]}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Three seeds, evaluated at 100, 200 and 300: one ends, and one passes, with infinity."""

    def curve(keys, seed, steps):
        measured = np.full(len(steps), np.nan)
        measured[99::100] = EVALUATIONS[seed]
        return {"train_loss": np.linspace(3, 1, len(steps)), "eval_loss": measured}

    asked = grid(steps=300, seeds=3, grid={"model.d_model": [8, 16]})
    return fill(tmp_path_factory.mktemp("stored") / "lab", asked, curve)


@pytest.mark.parametrize(
    ("measure", "values", "reason"),
    [
        ("final(eval_loss)", [None, 1.5, 2.0], "not finite at step 300"),
        ("highest(eval_loss)", [None, None, 3.0], "not finite at step 300"),
        ("best(eval_loss)", [2.0, 1.5, 2.0], None),
        ("at(eval_loss, 200)", [2.0, None, 2.5], "not finite at step 200"),
        ("mean(eval_loss, 100, 200)", [2.5, None, 2.75], "not finite at step 200"),
        ("final(train_loss)", [pytest.approx(1.03, abs=0.02)] * 3, None),
    ],
)
def test_a_value_that_is_not_finite_is_not_replaced_by_another(stored, measure, values, reason):
    table = measure_table(*stored, measure).filter(pl.col("model.d_model") == 8)
    assert table.sort("seed")["value"].to_list() == values
    reasons = [each for each in table.sort("seed")["reason"].to_list() if each is not None]
    assert (reasons[0] if reasons else None) == reason


def test_a_curve_that_is_finite_again_does_not_end_with_what_was_not():
    values = np.full(100, 2.0) + 0.01 * np.random.default_rng(0).standard_normal(100)
    values[5] = np.nan
    passing = read_curve(np.arange(1, 101), values)
    assert passing.not_finite is None
    assert "not finite" not in sentence(passing)
    values[90:] = np.inf
    ending = read_curve(np.arange(1, 101), values)
    assert ending.not_finite == 91
    assert "not finite from 91 on" in sentence(ending)
    assert "(1 of 2 seeds)" in group_sentence([passing, ending])
