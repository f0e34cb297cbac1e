"""Phases are timed where they can be, and shared out over the steps of each run."""

import pytest
import torch

from ablab.train import timings
from ablab.train.loop import train
from ablab.train.method import SOLO, STACK
from ablab.train.stack import Stack
from ablab.train.timings import Timings
from tests.helpers import BIGRAM, make_run
from tests.train.test_loop import SavedState

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand, and may go on by some seconds whenever it is read."""

    class Clock:
        now = tick = 0.0

        def perf_counter(self):
            self.now += self.tick
            return self.now

    clock = Clock()
    monkeypatch.setattr(timings, "time", clock)
    return clock


def spend(found, clock, name, seconds):
    with found.phase(name):
        clock.now += seconds
    clock.now += 100  # what is outside of phases counts for nothing


def test_seconds_are_shared_out_over_runs_and_steps(clock):
    found = Timings(CPU)
    spend(found, clock, "evaluate", 6.0)
    spend(found, clock, "forward", 50.0)  # before any step, as in a rehearsal
    assert found.per_step() == {}
    spend(found, clock, "data", 3.0)
    for _ in range(2):
        found.begin_step(runs=3)
        for _part in range(2):
            spend(found, clock, "forward", 0.25)
            spend(found, clock, "backward", 0.5)
        spend(found, clock, "update", 0.75)
    expected = {"data": 0.5, "forward": 1 / 6, "backward": 1 / 3, "update": 0.25, "evaluate": 1.0}
    assert found.per_step() == pytest.approx(expected)


def test_on_a_device_that_works_by_itself_few_steps_are_waited_for(clock, monkeypatch):
    waits = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: waits.append(clock.now))
    found = Timings(torch.device("cuda"))
    for _ in range(250):
        found.begin_step(runs=2)
        spend(found, clock, "forward", 1.0)
    assert len(waits) == 2 * 3
    assert found.per_step() == {"forward": 0.5}
    spend(found, clock, "data", 500.0)
    assert found.per_step()["data"] == 1.0


def test_training_is_timed_and_rehearsing_is_not(clock):
    clock.tick = 1.0
    stack = Stack([make_run(seed, model=BIGRAM) for seed in (0, 1)], None, CPU, STACK)
    stack.time_gradient()
    assert stack.timings.per_step() == {}
    stack.advance(3)
    # A second for each phase of a step, which two runs share.
    assert stack.timings.per_step() == dict.fromkeys(["data", "forward", "backward", "update"], 0.5)


def test_evaluation_is_timed_in_the_loop(clock):
    clock.tick = 1.0
    stack = Stack([make_run(model=BIGRAM, steps=2)], None, CPU, SOLO)
    assert train(stack, SavedState(), {}, lambda: False)
    assert stack.timings.per_step()["evaluate"] == 1.0  # at the beginning and at the end
