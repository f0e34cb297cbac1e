import numpy as np
import pytest
import torch

from ablab.train.method import STACK
from ablab.train.stack import Stack
from ablab.watching.config import RecorderConfig
from ablab.watching.recorder import Recorder
from tests.helpers import make_run

CPU = torch.device("cpu")


def fly(runs, config, steps, method=STACK, stops=10, spoil=None):
    """What a recorder keeps of a stack's steps; ``spoil`` changes losses as they are reported."""
    stack = Stack(runs, None, CPU, method)
    kept, failed = [], []
    recorder = Recorder(config, kept.append, failed.append, lambda side: None)
    recorder.begin(stack)
    losses = []
    while stack.step < steps:
        advance = stack.advance(stops)
        if spoil is not None:
            spoil(stack.step, advance.losses)
        losses.append(advance.losses)
        recorder.stopped(stack, advance)
    assert not failed
    return kept, np.concatenate(losses)


def test_a_jump_is_kept_with_the_steps_around_it():
    config = RecorderConfig(steps=15, after=3, jump=4.0, statistics=("grad/*/rms", "param/*/rms"))
    runs = [make_run(seed) for seed in (0, 1)]

    def spoil(step, losses):
        if step == 60:
            losses[3, 1] = 50.0  # step 54 of the second run

    kept, losses = fly(runs, config, 80, spoil=spoil)
    (flight,) = kept
    assert (flight.run, flight.step) == ("run1", 54)
    assert flight.steps == list(range(39, 58))
    np.testing.assert_allclose(flight.losses[:15], losses[38:53, 1], rtol=1e-6)
    assert flight.about["reason"] == "jump"
    assert flight.about["loss"] == 50.0
    assert flight.about["before"] == pytest.approx(losses[38:53, 1].max())
    assert flight.about["batch"]["seed"] == 1 and flight.about["batch"]["step"] == 54
    before = Stack(runs, None, CPU, STACK)
    before.advance(53)
    for name, view in before.layout.views(before.theta).items():
        torch.testing.assert_close(flight.parameters[name], view[1], rtol=0, atol=0)


def test_a_loss_that_is_not_finite_is_kept_whatever_was_kept_before():
    config = RecorderConfig(steps=10, at_most=0, statistics=("*",))
    runs = [make_run(0, lr=1e18, optimizer="sgd"), make_run(1, optimizer="sgd")]
    kept, losses = fly(runs, config, 10)
    bad = 1 + int(np.flatnonzero(~np.isfinite(losses[:, 0]))[0])
    (flight,) = kept
    assert (flight.run, flight.step, flight.about["reason"]) == ("run0", bad, "not finite")
    assert flight.about["loss"] is None
    assert flight.steps[-1] == bad


def test_a_run_that_goes_back_is_kept_too():
    recover = {"every": 5, "above": -0.0, "at_most": 1, "lr_factor": 0.5}
    runs = [make_run(0, recover=recover, lr=0.3, optimizer="sgd")]
    kept, _ = fly(runs, RecorderConfig(steps=10, statistics=("grad/*/rms",)), 60)
    assert [flight.about["reason"] for flight in kept] == ["recovered"]


def test_no_more_than_asked_for_are_kept():
    def spoil(step, losses):
        losses[0] = 50.0

    config = RecorderConfig(steps=5, at_most=2, statistics=("grad/*/rms",))
    kept, _ = fly([make_run()], config, 100, spoil=spoil)
    assert len(kept) == 2


def test_a_negative_loss_does_not_jump():
    """A loss of one's own can be below zero, where five times as much is lower."""

    def spoil(step, losses):
        losses[:] = -2.0 + 0.01 * np.sin(np.arange(len(losses)))[:, None]

    kept, _ = fly(
        [make_run()], RecorderConfig(steps=5, statistics=("param/*/rms",)), 60, spoil=spoil
    )
    assert kept == []


def test_a_loss_that_rises_from_below_zero_to_above_it_does_not_jump():
    def spoil(step, losses):
        losses[:] = 1.0 if step > 40 else -1.0

    kept, _ = fly(
        [make_run()], RecorderConfig(steps=5, statistics=("param/*/rms",)), 60, spoil=spoil
    )
    assert kept == []


def test_a_loss_that_rises_from_zero_jumps():
    """As where all predictions had become certain."""

    def spoil(step, losses):
        losses[:] = 3.0 if step > 40 else 0.0

    kept, _ = fly(
        [make_run()], RecorderConfig(steps=5, statistics=("param/*/rms",)), 60, spoil=spoil
    )
    assert [flight.step for flight in kept] == [41]
