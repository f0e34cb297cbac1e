"""Replayed steps of stacks are the usual ones. A CPU only rehearses; ``gpu`` tests record."""

import gc
import weakref

import numpy as np
import pytest
import torch

from ablab.execute.cost import count_cost
from ablab.experiments import experiment
from ablab.experiments.source import shipped
from ablab.model.transformer_config import TransformerConfig
from ablab.train import cuda_graphs
from ablab.train.cuda_graphs import (
    GraphedGradients,
)
from ablab.train.gradients import Gradients
from ablab.train.method import SOLO, STACK, Method
from ablab.train.optimizers import one_pass
from ablab.train.parameter_update import ReplayedUpdate, Update
from ablab.train.run import by_stack_key
from ablab.train.stack import Stack
from ablab.train.step_calls import STEPS_UNTIL_REPLAYED
from ablab.watching.step_statistics import StepStatistics
from tests.helpers import TEXT, make_run
from tests.train.recording import RELEASED, record
from tests.train.test_mixing import run_of
from tests.train.test_stack import NEW, OPTIMIZERS

CPU = torch.device("cpu")
DROPOUT = TransformerConfig(d_model=8, n_heads=2, dropout=0.1)
GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
COMPARED = 3  # the call that is made both ways, from 0: two usual ones, and one that is recorded
ROWS = Method("stack", rows=1)
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]


@pytest.fixture
def rehearsed(monkeypatch):
    """A CPU that has graphs."""
    monkeypatch.setitem(cuda_graphs.RECORDERS, "cpu", record)


def test_graphs_are_released_when_calls_are_made_anew(rehearsed):
    stack = Stack([make_run(seed) for seed in range(3)], None, CPU, STACK, replays=True)
    for change in (lambda: stack.narrow([0, 2]), stack.renew, lambda: stack.use(ROWS)):
        stack.advance(STEPS_UNTIL_REPLAYED + 20)
        calls = weakref.ref(stack.calls)
        assert stack.calls.replays
        RELEASED.clear()
        gc.disable()
        try:
            change()
            assert len(RELEASED) == 2
            assert calls() is None, "nothing waits for the garbage collector"
        finally:
            gc.enable()
    stack.advance(STEPS_UNTIL_REPLAYED)
    RELEASED.clear()
    stack.release()
    assert len(RELEASED) == 2
    assert np.isfinite(stack.advance(3).losses).all()


def compared(runs, method, steps, replays_on="cpu", watched=None):
    """Losses, rates and parameters with replays and without."""
    found = []
    for replays in (True, False):
        stack = Stack(runs, None, torch.device(replays_on), method, replays=replays)
        if watched is not None:
            stack.collector = StepStatistics(stack, ("*",), lambda step: step % watched == 0)
        advances = [stack.advance(count) for count in steps]
        assert stack.calls.replays is replays, stack.calls.failures
        found.append((stack, advances))
    return found


def assert_alike(found, exactly=True):
    (mine, own), (other, wanted) = found
    limit = {"rtol": 0, "atol": 0} if exactly else {"rtol": 1e-4, "atol": 1e-6}
    for a, b in zip(own, wanted, strict=True):
        for name in ("losses", "grad_norms", "lrs"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), **limit)
        assert (a.watched is None) == (b.watched is None)
        if a.watched is not None:
            np.testing.assert_allclose(a.watched, b.watched, rtol=0 if exactly else 1e-2)
    torch.testing.assert_close(mine.theta, other.theta, **limit)
    for name, state in mine.optimizer_state.items():
        torch.testing.assert_close(state, other.optimizer_state[name], **limit)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *NEW])
def test_replayed_steps_are_the_usual_ones(optimizer, device, rehearsed):
    settings = (OPTIMIZERS | NEW)[optimizer]
    schedule = {"kind": "cosine", "warmup": 5}  # so that the optimizer's numbers change
    runs = [
        make_run(0, model=DROPOUT, **settings),
        make_run(1, model=DROPOUT, **settings | {"schedule": schedule}),
    ]
    assert_alike(compared(runs, STACK, [1, 9, 20], device), device == "cpu")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "method",
    [SOLO, Method("stack", rows=1), Method("stack", rows=2, samples=7), Method("stack", samples=4)],
    ids=lambda method: method.title,
)
def test_steps_in_parts_are_replayed(method, device, rehearsed):
    count = 1 if method.engine == "solo" else 3
    runs = [make_run(seed, task=TEXT, clip_norm=0.5) for seed in range(count)]
    assert_alike(compared(runs, method, [4, 12], device), device == "cpu")


@pytest.mark.parametrize("device", DEVICES)
def test_watched_steps_are_usual_ones_between_replays(device, rehearsed):
    runs = [make_run(seed) for seed in range(2)]
    steps = [1, 2, 3, 3, 3, 3, 3, 1, 2]
    found = compared(runs, STACK, steps, device, watched=3)
    assert sum(each.watched is not None for each in found[0][1]) == 7
    assert_alike(found, device == "cpu")


@pytest.mark.parametrize("device", DEVICES)
def test_a_stack_that_narrows_is_recorded_anew(device, rehearsed):
    runs = [make_run(seed, clip_norm=1.0) for seed in range(4)]
    found = []
    for replays in (True, False):
        stack = Stack(runs, None, torch.device(device), STACK, replays=replays)
        advances = [stack.advance(10)]
        stack.narrow([1, 3])
        assert not stack.calls.replays
        advances.append(stack.advance(10))
        assert not stack.calls.replays, "others may leave soon"
        advances.append(stack.advance(20))
        assert stack.calls.replays is replays
        found.append((stack, advances))
    assert_alike(found, device == "cpu")


@pytest.mark.parametrize("device", DEVICES)
def test_a_run_that_recovers_is_replayed_from_its_best_state(device, rehearsed):
    recover = {"every": 7, "above": 0.02, "at_most": 5, "lr_factor": 0.25}
    runs = [make_run(seed, lr=0.3, recover=recover) for seed in range(2)]
    found = compared(runs, STACK, [30, 30], device)
    assert any(each.restarts for each in found[0][1]), "planted by a rate that is too high"
    assert_alike(found, device == "cpu")


def test_gradients_at_other_parameters_leave_a_step_as_it_is(rehearsed):
    runs = [make_run(seed) for seed in range(2)]
    stack, other = (Stack(runs, None, CPU, STACK, replays=replays) for replays in (True, False))
    for _ in range(8):
        stack.gradients_at(stack.theta + 1, stack.draw(3).at(0))
        stack.time_gradient()
        np.testing.assert_array_equal(stack.advance(1).losses, other.advance(1).losses)
    assert stack.calls.replays


def test_users_code_runs_at_every_step_unless_it_is_compiled(rehearsed):
    theirs = run_of("Plain")
    ours = make_run(0, optimizer="tests.train.my_optimizers:Signs")
    for run, method, gradients, update in (
        (theirs, SOLO, Gradients, ReplayedUpdate),
        (theirs, Method("solo", compiled=True), GraphedGradients, ReplayedUpdate),
        (ours, SOLO, GraphedGradients, Update),
        (make_run(0, optimizer="torch.optim:Adagrad"), SOLO, GraphedGradients, Update),
    ):
        calls = Stack([run], None, CPU, method, replays=True).calls
        assert isinstance(calls.gradients, GraphedGradients) is (gradients is GraphedGradients)
        assert type(calls.update) is update


@pytest.mark.parametrize("recipe", [each.name for each in shipped()])
def test_nothing_in_the_steps_of_the_recipes_would_stop_a_recording(recipe, rehearsed, monkeypatch):
    # The update of large runs in one pass is only for CPUs.
    monkeypatch.setattr(one_pass, "_LARGE", 2**60)
    runs = experiment(recipe, "train.batch_size=4", "seeds=2").runs
    groups = {group[0].program_key: group for group in by_stack_key(runs).values()}
    for group in list(groups.values())[:12]:
        cost = count_cost(group[0])
        several = len(group) > 1 and cost.unstackable is None
        stack = Stack(group[: 1 + several], None, CPU, STACK if several else SOLO, True)
        stack.advance(STEPS_UNTIL_REPLAYED)
        assert stack.calls.failures == []
        assert stack.calls.replays
        graphed = isinstance(stack.calls.gradients, GraphedGradients)
        assert graphed is stack.objective.is_shipped, group[0].model
