"""How curves end: falls that stop and that go on, slow falls, rises that do not last."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ablab.read.curves import read_curve
from ablab.read.curves.sentences import sentence
from ablab.read.curves.stops import stops
from tests.read.curves.generated import KINDS, SHAPES, generate, structureless
from tests.read.curves.real import real

TIME = np.arange(200.0)
ERROR = np.full(200, 0.01)
NOISE = 0.01 * np.random.default_rng(0).standard_normal(200)
# The last evaluations of a run of digit addition (4e048cfaf149).
SCATTERED = [0.996, 0.741, 0.735, 0.704, 0.666, 0.607, 0.587, 0.535, 0.515, 0.49, 0.456, 0.436,
             0.397, 0.352, 0.324, 0.294, 0.28, 0.213, 0.212, 0.148, 0.121, 0.117, 0.116, 0.103,
             0.082, 0.0896, 0.117, 0.0633, 0.0578, 0.0658, 0.0473, 0.0888, 0.041, 0.0401, 0.0394,
             0.03, 0.0517, 0.0529, 0.0356, 0.0215, 0.0378, 0.019, 0.0412, 0.0426, 0.0265, 0.0535,
             0.00681]  # fmt: skip


@pytest.mark.parametrize(
    "curve", [np.maximum(120 - TIME, 0) / 120, np.exp(-TIME / 25)], ids=["line", "exponential"]
)
def test_a_fall_to_a_level_is_told_from_one_that_goes_on(curve):
    assert stops(TIME, curve + NOISE, ERROR) > 10


@pytest.mark.parametrize(
    "curve",
    [-np.log(TIME + 20), 5 / np.sqrt(TIME + 10), -TIME / 200, np.zeros(200)],
    ids=["logarithm", "power", "line", "level"],
)
def test_a_fall_that_goes_on_is_not_said_to_stop(curve):
    assert stops(TIME, curve + NOISE, ERROR) < 4


def test_a_fall_that_neither_describes_is_not_said_to_stop():
    # A level, then a fall: both start to fall at once.
    assert stops(TIME, -np.maximum(TIME - 100, 0) / 100 + NOISE, ERROR) <= 0


def test_a_slow_fall_that_the_last_quarter_alone_does_not_show_is_said():
    reading = read_curve(*real("attention_slow"))
    assert reading.floor is None and not reading.finished
    # A line through the last 200 steps falls by 3.3% (ordinary least squares, statsmodels).
    assert reading.falls_slowly.by == pytest.approx(0.033, abs=0.003)
    said = sentence(reading)
    assert "still falls slowly" in said and "ends at" not in said


def test_a_floor_begins_after_the_curve_has_slowed_down():
    # The same experiment as `bigram`, logged more densely: 2.478 around 7,500, 2.453 at the end.
    labelled = Path(__file__).parent / "labelled_second" / "10.parquet"
    frame = pl.read_parquet(labelled).select("step", pl.col("train_loss").cast(pl.Float64))
    frame = frame.drop_nulls()
    floor = read_curve(frame["step"].to_numpy(), frame["train_loss"].to_numpy()).floor
    early = frame.filter(pl.col("step").is_between(floor.first, floor.first + 1500))
    late = frame.filter(pl.col("step") > frame["step"].max() - 1500)
    assert floor.first > 8000
    assert early["train_loss"].mean() == pytest.approx(late["train_loss"].mean(), rel=0.005)


def test_a_rise_that_is_lost_again_is_not_one_to_the_end():
    reading = read_curve(100 * np.arange(len(SCATTERED)) + 300, SCATTERED, "eval_loss")
    assert "at the end" not in sentence(reading)
    assert "rises again" not in sentence(reading)


@pytest.mark.parametrize(("noise", "most"), [(0.003, 1.1), (0.01, 0.6)])
def test_the_value_at_the_end_has_less_noise_than_the_last_one(noise, most):
    """In standard deviations of the noise's scale, root mean square; of the last value, about 1.6.

    With as few as one value, or the mean of a fall, it was 1.3 and 0.75.
    """
    errors, last = [], []
    for number in range(60):
        rng = np.random.default_rng([41, number])
        kind = (*KINDS, *SHAPES)[number % 10]
        one = generate(rng, kind, noise) if kind in KINDS else structureless(rng, noise, kind)
        errors.append(np.log(read_curve(one.steps, one.values).end / one.clean[-1]) / noise)
        last.append(np.log(one.values[-1] / one.clean[-1]) / noise)
    assert np.sqrt(np.mean(np.square(last))) > 1.4
    assert np.sqrt(np.mean(np.square(errors))) < most
