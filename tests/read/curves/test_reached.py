import numpy as np
import pytest

from ablab.read.curves.reached import calm, reached
from ablab.read.curves.together import read_together


def test_the_first_step_at_a_value_or_better():
    steps, values = np.array([10, 20, 30, 40.0]), np.array([3, 2, 1, 2.0])
    assert reached(steps, values, 2.0, "lower") == 20
    assert reached(steps, values, 0.5, "lower") is None
    assert reached(steps, values, 2.5, "higher") == 10


def test_a_dense_training_loss_is_smoothed_over_15_values():
    steps = np.arange(1, 61)
    values = np.where(steps == 30, 16.0, 1.0)
    assert calm(steps, values, "train_loss")[29] == pytest.approx(2.0)
    assert calm(steps, values, "eval_loss")[29] == 16
    assert np.array_equal(calm(10 * steps, values, "train_loss"), values)


def test_the_delay_of_two_curves_is_the_lag_at_their_value():
    """The held-out loss stays at 4 until 1,000, falls to 0.04 at 1,100 and stays there.

    Half-way in the logarithm is 0.4, which it is at 1,050 (1,055 is the next step logged). The
    training loss, 4 exp(-t / 50), is at 0.4 at 115.1.
    """
    steps = np.arange(1, 3001)
    training = np.maximum(4 * np.exp(-steps / 50), 1e-4)
    held = np.arange(5, 3001, 10)
    held_out = 4 * np.exp(-np.log(100) * np.clip((held - 1000) / 100, 0, 1))
    found = read_together((steps, training), (held, held_out))
    assert found.value == pytest.approx(0.4, rel=0.02)
    assert found.memorised == pytest.approx(116, abs=2) and found.generalised == 1055
    learnt = reached(steps, calm(steps, training, "train_loss"), found.value, "lower")
    late = reached(held, calm(held, held_out, "eval_loss"), found.value, "lower")
    assert found.delay == late - learnt
