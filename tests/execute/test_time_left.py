"""The time left by a simulated clock."""

from dataclasses import replace

import pytest

from ablab.execute.early_stops import ExpectedStop
from ablab.execute.plan import Plan, PlannedStack
from ablab.execute.progress import Reporter
from ablab.execute.status import QuietStatus
from ablab.execute.time_left import TimeLeft
from ablab.train.method import SOLO
from tests.helpers import make_run

RUNS = [replace(make_run(seed), id=f"run{seed}") for seed in range(3)]  # 100 steps each


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Simulation:
    """A plan of one stack per run, each estimated at ten seconds."""

    def __init__(self, runs, workers=1, stops=None):
        stacks = tuple(PlannedStack((run,), SOLO, None, "", 0, 10.0) for run in runs)
        plan = Plan(stacks, "cpu", workers, 1, stops=stops or {})
        steps = {run.id: 100 for run in runs}
        self.clock = Clock()
        self.left = TimeLeft(plan, steps, dict(steps), self.clock)

    def at(self, seconds, event, stack, step=None):
        self.clock.now = 1000.0 + seconds
        about = {"event": event, "stack": stack, "ids": [f"run{stack}"]}
        self.left.event(about if step is None else about | {"step": step, "runs": 1})
        return self.left.seconds()


def test_nothing_is_said_before_a_speed_is_measured():
    simulation = Simulation(RUNS[:2])
    assert simulation.left.seconds() is None
    assert simulation.at(0, "claimed", 0) is None
    assert simulation.at(3, "progress", 0, 10) is None


def test_stacks_that_have_not_begun_are_scaled_by_the_ratio_so_far():
    simulation = Simulation(RUNS[:2])
    simulation.at(0, "claimed", 0)
    simulation.at(3, "progress", 0, 10)
    # 20 steps in 4 s: 70 steps take 14 s, and 21 s are 2.1 times the estimate of the stack.
    assert simulation.at(7, "progress", 0, 30) == pytest.approx(14 + 21)
    simulation.clock.now += 2
    assert simulation.left.seconds() == pytest.approx(12 + 21)
    simulation.at(20, "progress", 0, 100)
    assert simulation.at(25, "ended", 0) == pytest.approx(25)  # took 2.5 times its estimate
    assert simulation.at(25, "claimed", 1) == pytest.approx(25)
    simulation.at(26, "progress", 1, 10)
    assert simulation.at(27, "progress", 1, 20) == pytest.approx(8)
    simulation.at(35, "progress", 1, 100)
    assert simulation.at(35, "ended", 1) == 0


def test_processes_share_what_has_not_begun():
    # The first process is free after 5 s; the other stack takes 14 s more, 19 s in all. Both were
    # estimated at 20 s, and take 29 s: the third one takes 14.5 s.
    simulation = Simulation(RUNS, workers=2)
    for stack in (0, 1):
        simulation.at(0, "claimed", stack)
    simulation.at(1, "progress", 0, 10)
    simulation.at(1, "progress", 1, 10)
    simulation.at(3, "progress", 0, 30)
    simulation.at(5, "progress", 1, 30)
    assert simulation.left.seconds() == pytest.approx(max(14, 5 + 14.5))


def test_runs_are_expected_to_stop_as_like_runs_did():
    stops = {"run0": ExpectedStop(50, 40, 60, 3, 3)}
    simulation = Simulation(RUNS[:1], stops=stops)
    simulation.at(0, "claimed", 0)
    simulation.at(1, "progress", 0, 10)
    assert simulation.at(3, "progress", 0, 30) == pytest.approx(0.1 * 20)
    assert simulation.at(5, "progress", 0, 50) == pytest.approx(0.1 * 10)  # the last one at 60
    assert simulation.at(6, "progress", 0, 60) == pytest.approx(0.1 * 40)


class Shown(QuietStatus):
    """Keeps what is shown."""

    def __init__(self):
        self.parts = []

    def show(self, activity):
        self.parts.append(activity)


def test_progress_has_the_time_left():
    shown = Shown()
    reporter = Reporter(shown)
    times = iter([None, 125.0])
    reporter.start({"run0": 100}, {"run0": 100}, {"run0": "base"}, {0: 0.0}, lambda: next(times))
    for step in (10, 20):
        about = {"stack": 0, "step": step, "runs": 1, "loss": 1.0, "ids": ["run0"]}
        reporter.event({"event": "progress"} | about)
    first, second = shown.parts
    assert first[0] == "training 10%" and not any("left" in part for part in first)
    assert second[:2] == ["training 20%", "2 min 05 s left"]
