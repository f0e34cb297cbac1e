"""Going back at the right looks, to the right state, by configuration and seed alone."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ablab.train import step_scalars as scalars_module
from ablab.train.config import RecoverConfig, TrainConfig
from ablab.train.method import SOLO, STACK, Method
from ablab.train.recovery import Recovery, RecoveryState, Restart
from ablab.train.stack import Stack
from tests.helpers import BIGRAM, make_run
from tests.train.test_loop import kept

CPU = torch.device("cpu")
ROWS = Method("stack", rows=1)  # which computes each run's gradients as solo does, bit for bit
# Squared error with a rate that is far too high grows until it is not finite, and again, until the
# rate has come down.
WILD = {
    "model": BIGRAM, "loss": "mse", "optimizer": "sgd", "lr": 1e6, "momentum": 0.5,
    "recover": {"every": 7, "above": 0.5, "at_most": 9, "lr_factor": 0.1},
}  # fmt: skip
# A rate that rises for 60 steps is too high now and then only, so that there is a way to go back.
RISING = {
    "lr": 1000.0, "schedule": {"warmup": 60}, "recover": WILD["recover"] | {"lr_factor": 0.25},
}  # fmt: skip


def make(seed=0, **settings):
    return make_run(seed, **WILD | settings)


def restarts(run, steps=100, method=SOLO):
    stack = Stack([run], None, CPU, method)
    return stack, stack.advance(steps)


def test_looks_by_hand():
    config = RecoverConfig(every=2, above=0.5, at_most=1)
    zero = torch.zeros(1)
    states = [RecoveryState.initial(zero, {"m": zero}) for _ in range(3)]
    recovery = Recovery(config, states, CPU)
    theta, optimizer_state = torch.zeros(3, 1), {"m": torch.zeros(3, 1)}

    def note(step, *losses):
        theta.fill_(step)
        optimizer_state["m"].fill_(10 * step)
        return recovery.note(np.array(losses), step, theta, optimizer_state)

    assert note(1, [1.5, 3.0, math.nan]) == []
    assert note(2, [0.5, 1.0, 1.0]) == [Restart(2, 2, 0)]
    assert theta.flatten().tolist() == [2, 2, 0]
    assert optimizer_state["m"].flatten().tolist() == [20, 20, 0]
    # Means 1.6, 2.0 and 5.0: above 1 by more than 0.5, not above 2, and the first that is finite.
    assert note(4, [1.6, 2.0, 5.0], [1.6, 2.0, 5.0]) == [Restart(0, 4, 0)]
    assert theta.flatten().tolist() == [0, 4, 4]
    assert recovery.lr_scales.tolist() == [0.5, 1.0, 0.5]
    assert recovery.has_restarts.tolist() == [False, True, False]
    # The one restart of the first and the last is used up.
    assert note(6, [9.0, 2.4, math.inf], [9.0, 2.4, 1.0]) == []
    assert theta.flatten().tolist() == [6, 6, 6]
    # A mean of 1 is the second's lowest: it judges the state at whose step its interval began.
    assert note(8, [9.0, 1.0, 6.0], [9.0, 1.0, 6.0]) == []
    recovery.narrow([2, 1])
    kept_states = [recovery.state(i) for i in (0, 1)]
    found = [(s.best.step, s.best_loss, s.latest.step, s.restarts) for s in kept_states]
    assert found == [(0, 5, 8, 1), (6, 1, 8, 0)]
    assert [s.best.theta.item() for s in kept_states] == [0, 6]
    assert [s.best.optimizer_state["m"].item() for s in kept_states] == [0, 60]


def test_a_first_interval_is_compared_with_the_initial_loss():
    recovery = Recovery(RecoverConfig(every=3), [RecoveryState.initial(torch.zeros(1), {})], CPU)
    losses = np.array([[2.0], [4.0], [6.0]])
    assert recovery.note(losses, 3, torch.ones(1, 1), {}) == [Restart(0, 3, 0)]


def test_a_state_that_is_not_finite_is_never_kept():
    recovery = Recovery(RecoverConfig(every=1), [RecoveryState.initial(torch.zeros(1), {})], CPU)
    assert recovery.note(np.array([[1.0]]), 1, torch.full((1, 1), math.inf), {}) == []
    theta = torch.ones(1, 1)
    assert recovery.note(np.array([[math.nan]]), 2, theta, {}) == [Restart(0, 2, 0)]
    assert theta.item() == 0


def test_a_run_recovers_and_then_learns():
    stack, advance = restarts(make())
    steps = [each.step for each in advance.restarts]
    assert 2 <= len(steps) < 9
    assert all(step % 7 == 0 for step in steps)
    assert not advance.fatal.any()
    assert not np.isfinite(advance.losses).all(), "losses are recorded as they are"
    assert advance.losses[-1] < advance.losses[0]
    assert stack.state(0).recovery.restarts == len(steps)
    rates = np.full(100, 1e6)
    for step in steps:
        rates[step:] *= 0.1
    np.testing.assert_allclose(advance.lrs[:, 0], rates)


def test_the_state_after_a_restart_is_the_best_one():
    run = make(**RISING)
    stack = Stack([run], None, CPU, SOLO)
    states = {0: stack.theta.clone()}
    found = []
    for step in range(1, 81):
        found += stack.advance(1).restarts
        states[step] = stack.theta.clone()
    assert found == restarts(run, 80)[1].restarts
    assert max(each.back_to for each in found) > 7
    for restart in found:
        assert torch.equal(states[restart.step], states[restart.back_to])


def test_with_no_restart_left_a_loss_that_is_not_finite_is_fatal():
    few = make(recover=WILD["recover"] | {"at_most": 1})
    _, advance = restarts(few, 40)
    (restart,) = advance.restarts
    first = np.flatnonzero(advance.fatal[:, 0])[0] + 1
    assert restart.step < first
    checkpointer = kept([few], SOLO)
    assert checkpointer.checkpoints[-1].diverged == {"run0": first}
    assert checkpointer.rows["run0", restart.step]["restart"] == restart.back_to


def test_run_k_of_a_stack_recovers_as_it_does_alone_bit_for_bit():
    runs = [make(0), make(1, lr=0.1), make(2, lr=8e6)]
    together = Stack(runs, None, CPU, ROWS)
    found = together.advance(60)
    for index, run in enumerate(runs):
        single, alone = restarts(run, 60)
        np.testing.assert_array_equal(found.losses[:, index], alone.losses[:, 0])
        assert torch.equal(together.theta[index], single.theta[0])
        own = [(each.step, each.back_to) for each in found.restarts if each.run == index]
        assert own == [(each.step, each.back_to) for each in alone.restarts]
    assert {each.run for each in found.restarts} == {0, 2}


def test_under_vmap_runs_recover_at_the_same_steps():
    runs = [make(0), make(1)]
    found = Stack(runs, None, CPU, STACK).advance(60)
    for index, run in enumerate(runs):
        own = [each.step for each in found.restarts if each.run == index]
        assert own == [each.step for each in restarts(run, 60)[1].restarts]


@pytest.mark.parametrize("middle", [3, 7, 25])
def test_a_resumed_stack_goes_on_bit_for_bit(middle):
    runs = [make(0, **RISING), make(1, **RISING)]
    whole = Stack(runs, None, CPU, ROWS)
    expected = whole.advance(60)
    first = Stack(runs, None, CPU, ROWS)
    first.advance(middle)
    second = Stack(runs, [first.state(0), first.state(1)], CPU, ROWS)
    found = second.advance(60 - middle)
    np.testing.assert_array_equal(found.losses, expected.losses[middle:])
    np.testing.assert_array_equal(found.lrs, expected.lrs[middle:])
    assert torch.equal(second.theta, whole.theta)
    assert found.restarts == [each for each in expected.restarts if each.step > middle]


def test_logging_and_evaluation_change_nothing():
    often = kept([make(log_every=3, evaluate={"every": 4, "samples": 8})], SOLO)
    rarely = kept([make(log_every=50, evaluate={"every": 100, "samples": 8})], SOLO)
    for name in ("train_loss", "restart"):
        one, other = (
            [checkpointer.rows["run0", step].get(name, -1) for step in range(1, 101)]
            for checkpointer in (often, rarely)
        )
        np.testing.assert_array_equal(one, other)


def test_a_run_that_leaves_disturbs_no_recovery():
    runs = [make(0), make(1), make(2)]
    whole = Stack(runs, None, CPU, ROWS)
    expected = whole.advance(40).losses
    narrowed = Stack(runs, None, CPU, ROWS)
    narrowed.advance(10)
    narrowed.narrow([0, 2])
    np.testing.assert_array_equal(narrowed.advance(30).losses, expected[10:, [0, 2]])


def test_a_state_without_its_recovery_is_refused():
    plain = Stack([make(recover=None)], None, CPU, SOLO)
    plain.advance(3)
    assert plain.state(0).recovery is None
    with pytest.raises(ValueError, match="no recovery state"):
        Stack([make()], [plain.state(0)], CPU, SOLO)


def test_only_recovery_that_is_asked_for_is_in_the_identity():
    assert "recover" not in TrainConfig().identity()
    assert TrainConfig(recover={}).identity()["recover"]["every"] == 10
    with pytest.raises(ValidationError, match="greater than 0"):
        RecoverConfig(lr_factor=0)


def test_a_planted_spike_of_the_learning_rate_is_recovered_from(monkeypatch):
    plain = scalars_module.factors

    def spiked(schedule, total, first, steps):
        at = np.arange(first, first + steps)
        found = plain(schedule, total, first, steps)
        return np.where((at >= 60) & (at < 63), found * 300, found)

    monkeypatch.setattr(scalars_module, "factors", spiked)
    settings = {"lr": 0.01, "optimizer": "adam"}
    recover = {"every": 10, "above": 0.5, "at_most": 3, "lr_factor": 0.5}
    without = Stack([make_run(**settings)], None, CPU, SOLO).advance(120)
    found = Stack([make_run(**settings, recover=recover)], None, CPU, SOLO).advance(120)
    np.testing.assert_array_equal(found.losses[:70], without.losses[:70])
    before = found.losses[50:60].mean()
    assert found.losses[62:70].max() > before + 10, "it jumps"
    # The update of step 60 is the first bad one: the state after it is judged by what follows.
    assert [(r.step, r.back_to) for r in found.restarts] == [(70, 50)]
    assert found.losses[110:].mean() < before
    assert without.losses[110:].mean() > before + 0.5


def test_a_run_that_ends_between_two_looks_with_no_finite_loss_has_diverged():
    bad = make(lr=1e30, steps=25, recover={"every": 30})
    _, advance = restarts(bad, 25)
    assert not np.isfinite(advance.losses[-1]).any()
    assert advance.fatal[-1].all()
    assert not advance.fatal[:-1].any()
