"""Inputs do not depend on how they were prepared: how many steps ahead, or beside training."""

from threading import Event

import numpy as np
import pytest
import torch

from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.base import Batch
from ablab.train.method import SOLO, STACK
from ablab.train.prefetch import Prefetcher
from ablab.train.stack import Stack, make_task
from ablab.train.step_scalars import step_scalars
from tests.helpers import TEXT, make_run

CPU = torch.device("cpu")
DROPOUT = TransformerConfig(d_model=8, n_heads=2, dropout=0.1)
RECOVER = {"every": 7, "above": 0.02, "at_most": 5, "lr_factor": 0.25}


def runs_of(count=3, **settings):
    return [make_run(seed, **settings) for seed in range(count)]


def prefetchers(runs):
    """One that draws beside training, and one that does not."""
    stack = Stack(runs, None, CPU, STACK)
    sizes = stack.objective.noise_sizes
    task = make_task(runs[0])
    return [
        Prefetcher(runs, task, stack.optimizer, sizes, stack.theta, beside=beside)
        for beside in (True, False)
    ]


def kept_as_it_is(batches):
    return batches


def same(found, wanted):
    pairs = zip(found.batches.tensors, wanted.batches.tensors, strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert torch.equal(found.numbers, wanted.numbers)
    assert found.names == wanted.names
    np.testing.assert_array_equal(found.lrs, wanted.lrs)


@pytest.mark.parametrize("kept", [1, 60_000, 2**28], ids=lambda kept: f"{kept} bytes")
@pytest.mark.parametrize("parts", [{}, {"model": DROPOUT, "task": TEXT}], ids=["plain", "noise"])
def test_batches_drawn_beside_training_are_those_of_their_step(parts, kept, monkeypatch):
    monkeypatch.setattr("ablab.train.prefetch._DRAW_BYTES_BESIDE", kept)
    runs = runs_of(steps=30, **parts)
    beside, plain = prefetchers(runs)
    for step in range(1, 31):
        found, wanted = (each.at(step, None, kept_as_it_is) for each in (beside, plain))
        same(found, wanted)
        alone = make_task(runs[2]).draw(runs[2].seed, step, 1, 16)
        np.testing.assert_array_equal(found.batches.tokens[2], alone.tokens[0])


def test_what_was_drawn_for_others_is_dropped(monkeypatch):
    monkeypatch.setattr("ablab.train.prefetch._DRAW_BYTES_BESIDE", 1)
    beside, plain = prefetchers(runs_of())
    step = 0
    for change in ("nothing", "forget", "narrow", "jump", "nothing"):
        step += 40 if change == "jump" else 1
        for each in (beside, plain):
            if change == "forget":
                each.forget()
            elif change == "narrow":
                each.narrow([2, 0], each._optimizer)
        same(*(each.at(step, None, kept_as_it_is) for each in (beside, plain)))


def test_an_error_of_a_task_is_raised_where_its_batch_is_needed(monkeypatch):
    monkeypatch.setattr("ablab.train.prefetch._DRAW_BYTES_BESIDE", 1)
    runs = runs_of(1)
    task = make_task(runs[0])
    plain = task.draw

    def draw(seed, first, count, samples):
        if first == 3:
            raise RuntimeError("no more data")
        return plain(seed, first, count, samples)

    monkeypatch.setattr(task, "draw", draw)
    stack = Stack(runs, None, CPU, SOLO)
    beside = Prefetcher(runs, task, stack.optimizer, [], stack.theta, beside=True)
    for step in (1, 2):
        beside.at(step, None, kept_as_it_is)
    with pytest.raises(RuntimeError, match="no more data"):
        beside.at(3, None, kept_as_it_is)


@pytest.mark.parametrize("beside", [True, False])
def test_a_task_may_return_arrays_of_any_layout(beside):
    runs = runs_of(2)
    task, plain = make_task(runs[0]), make_task(runs[0])

    def draw(seed, first, count, samples):
        batch = plain.draw(seed, first, count, samples)
        backwards = np.ascontiguousarray(batch.tokens[..., ::-1])[..., ::-1]
        backwards.flags.writeable = False
        return Batch(backwards, batch.targets.astype(batch.targets.dtype.newbyteorder(">")))

    task.draw = draw
    stack = Stack(runs, None, CPU, STACK)
    given = (stack.optimizer, [], stack.theta, beside)
    own, usual = Prefetcher(runs, task, *given), Prefetcher(runs, plain, *given)
    for step in range(1, 20):
        same(own.at(step, None, kept_as_it_is), usual.at(step, None, kept_as_it_is))


@pytest.mark.parametrize(
    "change", [lambda tokens: tokens[:, :1], lambda tokens: tokens.astype(np.uint8)]
)
def test_runs_whose_batches_differ_in_kind_are_refused(change):
    runs = runs_of(2)
    task, plain = make_task(runs[0]), make_task(runs[0])

    def draw(seed, first, count, samples):
        batch = plain.draw(seed, first, count, samples)
        return Batch(change(batch.tokens), batch.targets) if seed == 1 else batch

    task.draw = draw
    stack = Stack(runs, None, CPU, STACK)
    with pytest.raises(ValueError, match="for seed 1, and int64 of shape") as found:
        Prefetcher(runs, task, stack.optimizer, [], stack.theta).at(1, None, kept_as_it_is)
    assert "expected the same" in str(found.value)


def test_drawing_ends_when_nobody_needs_it():
    runs = runs_of(4)
    task, plain, went_on = make_task(runs[0]), make_task(runs[0]), Event()
    seen = []

    def draw(seed, first, count, samples):
        seen.append((seed, first))
        if first > 1 and seed == 0:
            began.set()
            went_on.wait(10)
        return plain.draw(seed, first, count, samples)

    task.draw, began = draw, Event()
    stack = Stack(runs, None, CPU, STACK)
    beside = Prefetcher(runs, task, stack.optimizer, [], stack.theta, beside=True)
    beside.at(1, None, kept_as_it_is)
    assert began.wait(10)
    beside.close()
    went_on.set()
    found = beside.at(2, None, kept_as_it_is)
    alone = Prefetcher(runs, plain, stack.optimizer, [], stack.theta)
    same(found, alone.at(2, None, kept_as_it_is))
    assert [seed for seed, first in seen if first == 9] in ([0], []), "the others were not drawn"


def test_an_optimizer_without_numbers_trains():
    run = make_run(optimizer="tests.train.my_optimizers:Numberless")
    assert np.isfinite(Stack([run], None, CPU, SOLO).advance(5).losses).all()


def test_a_stack_whose_batches_are_drawn_beside_it_trains_as_any_other(monkeypatch):
    monkeypatch.setattr("ablab.train.prefetch._DRAW_BYTES_BESIDE", 30_000)
    runs = runs_of(2, lr=0.3, recover=RECOVER, model=DROPOUT)
    beside, plain = Stack(runs, None, CPU, STACK), Stack(runs, None, CPU, STACK)
    sizes = beside.objective.noise_sizes
    beside._prefetcher = Prefetcher(
        runs, beside.task, beside.optimizer, sizes, beside.theta, beside=True
    )
    restarts = 0
    for _ in range(4):
        found, wanted = beside.advance(20), plain.advance(20)
        np.testing.assert_array_equal(found.losses, wanted.losses)
        np.testing.assert_array_equal(found.lrs, wanted.lrs)
        restarts += len(found.restarts)
    assert restarts, "rates change at checks, planted by a rate that is too high"


def test_numbers_are_computed_once_for_equal_settings_and_never_mixed_up():
    schedule = {"kind": "cosine", "warmup": 3}
    one, two = make_run(0, clip_norm=0.5), make_run(0, lr=0.3, schedule=schedule, clip_norm=2.0)
    runs = [one, two, *(make_run(seed, clip_norm=0.5) for seed in (1, 2))]
    runs[3] = type(one)(**{**vars(runs[3]), "train": one.train})  # as the seeds of a variant share
    optimizer = Stack([one], None, CPU, SOLO).optimizer
    calls = []
    plain = optimizer.scalars
    optimizer.scalars = lambda *given: calls.append(given) or plain(*given)
    scales = np.array([1.0, 0.5, 1.0, 0.25])
    found = step_scalars(runs, optimizer, 2, 5, scales)
    assert found.values.shape == (5, len(found.names), 4, 1)
    assert len(calls) == 5 * 4, "two settings, and twice a scale of its own"
    for r, run in enumerate(runs):
        alone = step_scalars([run], optimizer, 2, 5, scales[r : r + 1])
        np.testing.assert_array_equal(found.values[:, :, r], alone.values[:, :, 0])
        np.testing.assert_array_equal(found.lrs[:, r], alone.lrs[:, 0])
    calls.clear()
    step_scalars(runs, optimizer, 2, 5, None)
    assert len(calls) == 5 * 3, "the last run shares the settings of the first"
    clip = found.names.index("clip_norm")
    np.testing.assert_array_equal(found.values[0, clip, :, 0], [0.5, 2.0, 0.5, 0.5])
