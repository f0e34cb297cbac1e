"""Leaps of grokking runs (described in said/): late, at the end, on top of a slow rise."""

import numpy as np
import pytest

from ablab.read.curves import read_curve
from ablab.read.curves.sentences import sentence
from tests.read.curves.real import real

STEPS = np.arange(1, 2001)


def test_a_late_leap_that_decays_is_a_spike():
    reading = read_curve(*real("late_leap"))
    (spike,) = reading.spikes
    assert spike.step == pytest.approx(1680, abs=2)
    assert spike.height == pytest.approx(1 / 7.8e-8, rel=0.1)
    assert reading.growbacks == () and reading.rises == ()
    assert not reading.finished
    text = sentence(reading)
    assert "jumps" not in text and "to 7.9e-8 at 1,4" in text


def test_a_leap_near_the_end_is_a_spike_and_no_rise_to_the_end():
    reading = read_curve(*real("leap_at_the_end"))
    assert [spike.step for spike in reading.spikes] == pytest.approx([708, 1918], abs=8)
    assert reading.growbacks == ()
    text = sentence(reading)
    assert "to 3.2e-7 at 1,9" in text and text.endswith("; ends at 0.0311")


def test_a_spike_on_top_of_a_rise_is_apart_from_it():
    reading = read_curve(*real("slingshot_held_out"), "eval_loss")
    (spike,), (rise,) = reading.spikes, reading.growbacks
    assert (spike.step, spike.height) == (1160, pytest.approx(0.29 / 0.0117, rel=0.1))
    assert rise.first == pytest.approx(610, abs=50)
    assert (rise.low, rise.high) == pytest.approx((4.6e-4, 0.059), rel=0.03)
    later = read_curve(*real("slingshot_later_held_out"), "eval_loss")
    assert [each.step for each in later.spikes] == pytest.approx([1210], abs=10)
    assert all(each.high < 0.01 for each in later.growbacks)


def test_a_leap_to_a_new_level_is_a_spike_and_a_rise():
    log = np.log(1e-5) + np.where(STEPS > 1200, np.log(1e-2 / 1e-5), 0.0)
    log += np.where(STEPS > 1200, 4.5 * np.exp(-(STEPS - 1200) / 15), 0.0)
    log += np.maximum(0, 11 - STEPS / 40) + 0.01 * np.random.default_rng(0).standard_normal(2000)
    reading = read_curve(STEPS, np.exp(log))
    assert [spike.step for spike in reading.spikes] == [1201]
    (rise,) = reading.growbacks
    assert (rise.low, rise.high) == pytest.approx((1e-5, 1e-2), rel=0.15)


def test_a_step_up_is_no_spike():
    log = np.where(STEPS > 1000, 3.0, 0.0) - 2 * np.minimum(STEPS / 100, 1)
    log = log + 0.01 * np.random.default_rng(0).standard_normal(2000)
    reading = read_curve(STEPS, np.exp(log))
    assert reading.spikes == ()
    assert [rise.high for rise in reading.growbacks] == pytest.approx([np.exp(1)], rel=0.05)
