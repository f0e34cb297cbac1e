"""The reader on curves that need two looks; the numbers are in docs/decisions/0027-two-times.md."""

import numpy as np
import pytest

from ablab.read.curves import read_curve
from ablab.read.curves.sentences import sentence
from tests.read.curves.chance import floors, named, windows
from tests.read.curves.two_times import KINDS, drawn
from tests.read.curves.two_times_score import FINDINGS, REAL, Score, score

STEPS = np.arange(1, 3001)


def noisy(clean, noise=0.01, seed=0):
    return clean * np.exp(noise * np.random.default_rng(seed).standard_normal(len(clean)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_curve_with_its_truth_inside(kind):
    one, same = (drawn(np.random.default_rng(4), kind, 0.01) for _ in range(2))
    assert np.array_equal(one.values, same.values) and one.truth == same.truth
    assert (np.diff(one.steps) > 0).all() and np.isfinite(one.values).all() and one.truth
    for event in one.truth:
        step = getattr(event, "step", getattr(event, "first", None))
        assert step is None or 1 <= step <= one.steps[-1]


def test_generated_curves_are_read():
    found = score(read_curve, range(2 * len(KINDS)), seed=7)
    missing = {kind: found.share("missing", kind, REAL) for kind in FINDINGS}
    false = sum(found.false.values())
    assert {kind for kind, share in missing.items() if share < 0.9} == set(), found.faults
    assert false <= 2, found.faults


def test_a_reader_that_finds_nothing_or_everything_scores_nothing():
    curve = drawn(np.random.default_rng(0), "peak", 0.01)
    total = Score()
    total.judge(curve, read_curve([1, 2], [1.0, 1.0]))
    assert total.share("missing", "peak", [0.01]) == 0
    total.judge(curve, read_curve(curve.steps, curve.values[::-1]))
    assert sum(total.false.values()) > 0


def test_nothing_is_said_by_chance():
    assert named(read_curve, range(24), 1) <= 0.02
    assert floors(read_curve, range(16), 1) == 0
    differ, total = windows(read_curve, range(1), 1)
    assert differ == 0 and total > 4


def test_what_is_over_early_in_a_long_run():
    steps = np.arange(1, 100_001)
    reading = read_curve(steps, 4.7 * np.exp(-np.maximum(0, steps - 80) / 12) + 3e-8)
    (plateau,), (descent,) = reading.plateaus, reading.descents
    assert (plateau.level, plateau.last) == (pytest.approx(4.7), pytest.approx(80, abs=3))
    assert descent.rate == pytest.approx(12 * np.log(2), rel=0.05)
    assert reading.floor.level == pytest.approx(3e-8, rel=0.01)
    assert sentence(reading) == (
        "4.7 until 80, then falls (halving every 8.34 steps); floor 3.0e-8 from 362"
    )


def test_a_rise_and_a_peak():
    risen = read_curve(STEPS, noisy(2 * np.exp(STEPS / 3000)))
    (rise,) = risen.rises
    assert rise.high / rise.low == pytest.approx(np.e, rel=0.05) and not risen.growbacks
    assert sentence(risen).startswith("rises from 2")
    bump = read_curve(
        STEPS, noisy(3 * np.exp(2 * STEPS / 300 * np.exp(1 - STEPS / 300) - STEPS / 500))
    )
    (peak,) = bump.peaks
    assert peak.step == pytest.approx(270, abs=60)
    assert "to a peak of" in sentence(bump) and ", then falls" in sentence(bump)


def test_a_fall_that_becomes_steeper():
    clean = np.exp(-STEPS / 1500 - np.maximum(STEPS - 1200, 0) / 120)
    (steepening,) = read_curve(STEPS, noisy(clean)).steepenings
    assert steepening.step == pytest.approx(1200, abs=60)
    assert steepening.factor == pytest.approx(13.5, rel=0.2)
    assert read_curve(STEPS, noisy(np.exp(-STEPS / 300))).steepenings == ()


def test_an_accuracy_has_a_transition_and_rises():
    values = 0.1 + 0.9 / (1 + np.exp(-(STEPS - 1200) / 30))
    values = values + 0.01 * np.random.default_rng(0).standard_normal(len(STEPS))
    reading = read_curve(STEPS, values, "eval_accuracy")
    (found,) = reading.transitions
    assert found.step == pytest.approx(1200, abs=10)
    assert found.width == pytest.approx(30 * 2 * np.log(9), rel=0.1)
    assert "then rises (transition at 1," in sentence(reading)
    slow = read_curve(STEPS, 0.9 - 0.8 * np.exp(-STEPS / 2000), "eval_accuracy")
    assert slow.transitions == () and not slow.finished
    assert "still rising" in sentence(slow)


def test_a_direction_is_declared():
    values = 0.1 + 0.9 / (1 + np.exp(-(STEPS - 1200) / 30))
    assert read_curve(STEPS, values, "mine/accuracy_of_probe").rises
    declared = read_curve(STEPS, values, "mine/accuracy_of_probe", direction="higher")
    assert declared.transitions and not declared.rises


def test_only_declared_levels_have_names():
    flat = noisy(np.full(len(STEPS), np.log(5)))
    assert read_curve(STEPS, flat).floor.name is None
    assert read_curve(STEPS, flat, levels={"log(5)": np.log(5)}).floor.name == "log(5)"
    assert read_curve(STEPS, 1.02 * flat, levels={"log(5)": np.log(5)}).floor.name is None


def test_the_end_is_the_value_at_the_end():
    clean = np.where(STEPS < 2900, 0.5, 0.5 * np.exp(-(STEPS - 2900) / 10.0))
    reading = read_curve(STEPS, noisy(clean))
    assert reading.end == pytest.approx(clean[-1], rel=0.1)
    assert not reading.finished


def test_a_missed_spike_does_not_hide_the_period():
    clean = np.full(len(STEPS), 0.01)
    for step in (400, 800, 1200, 2000, 2400):
        after = step <= STEPS
        clean[after] *= np.exp(np.log(15.7) * np.exp(-(STEPS[after] - step) / 10))
    reading = read_curve(STEPS, noisy(clean))
    assert reading.period == 400
    assert [spike.height for spike in reading.spikes] == pytest.approx([15.7] * 5, rel=0.05)
    assert read_curve(STEPS[900:1500], noisy(clean)[900:1500]).spikes == reading.spikes[2:3]
