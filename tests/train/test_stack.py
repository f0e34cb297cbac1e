"""The central invariant: run k of a stack equals run k alone."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.modular_config import ModularConfig
from ablab.tasks.recall_config import RecallConfig
from ablab.tasks.sequences_config import CopyConfig, ReverseConfig, RollConfig
from ablab.train.method import SOLO, STACK
from ablab.train.prefetch import dropout_words
from ablab.train.stack import Stack, initial_model
from tests.helpers import ADDITION, BIGRAM, TEXT, TRANSFORMER, make_run

CPU = torch.device("cpu")
DROPOUT = TransformerConfig(d_model=8, n_heads=2, dropout=0.1)
TASKS = [
    CopyConfig(n_symbols=4, length=5),
    ReverseConfig(n_symbols=4, length=5),
    RollConfig(n_symbols=4, length=5, shift=2),
    ModularConfig(p=11, operation="a*b-b"),
    RecallConfig(n_pairs=4, n_queries=3, n_keys=8, n_values=8),
]
OPTIMIZERS = {
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "decay": "matrices", "clip_norm": 0.5},
    "adam": {"optimizer": "adam", "weight_decay": 0.01},
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "lr": 0.05},
}
NEW = {
    # A sign is no smooth function of the last bit, so it is looked at where that is far away.
    "lion": {"optimizer": "lion", "weight_decay": 0.1, "lr": 1e-3, "precision": "float64"},
    "muon": {"optimizer": "muon", "lr": 5e-3, "decay": "matrices", "clip_norm": 0.5},
}


def alone(run):
    return Stack([run], [None], CPU, SOLO)


def stacked_as_alone(runs, steps):
    together = Stack(runs, [None] * len(runs), CPU, STACK).advance(steps)
    for index, run in enumerate(runs):
        single = alone(run).advance(steps)
        np.testing.assert_allclose(together.losses[:, index], single.losses[:, 0], rtol=1e-4)
        np.testing.assert_array_equal(together.lrs[:, index], single.lrs[:, 0])
        np.testing.assert_allclose(together.grad_norms[index], single.grad_norms[0], rtol=1e-2)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "parts",
    [
        {"model": TRANSFORMER},
        {"model": DROPOUT},
        {"model": BIGRAM},
        {"model": DROPOUT, "task": TEXT},
        {"model": BIGRAM, "task": TEXT},
        {"model": TRANSFORMER, "precision": "float64"},
        {"model": TRANSFORMER, "loss": {"dtype": "float64"}},
    ],
    ids=lambda parts: "-".join(
        str(value.kind if hasattr(value, "kind") else value) for value in parts.values()
    ),
)
def test_run_k_of_a_stack_equals_run_k_alone(parts, optimizer):
    settings = OPTIMIZERS[optimizer]
    runs = [
        make_run(0, **parts, **settings),
        make_run(1, **parts, **settings | {"lr": 0.02}),
        make_run(7, **parts, **settings | {"schedule": {"kind": "cosine", "warmup": 5}}),
    ]
    stacked_as_alone(runs, 40 if optimizer == "adamw" else 15)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_every_task_trains_in_a_stack_as_alone(task):
    stacked_as_alone([make_run(seed, task=task, model=DROPOUT) for seed in (0, 7)], 10)


@pytest.mark.parametrize("optimizer", NEW)
def test_run_k_equals_run_k_alone_with_newer_optimizers(optimizer):
    settings = {"model": DROPOUT} | NEW[optimizer]
    runs = [make_run(0, **settings), make_run(1, **settings | {"lr": 2e-3, "betas": [0.8, 0.9]})]
    together = Stack(runs, [None] * 2, CPU, STACK).advance(60)
    for index, run in enumerate(runs):
        single = alone(run).advance(60)
        np.testing.assert_allclose(together.losses[:, index], single.losses[:, 0], rtol=1e-4)
    assert (together.losses[-10:].mean(axis=0) < together.losses[:10].mean(axis=0)).all()


def test_batches_masks_and_initial_parameters_are_equal_bit_for_bit():
    runs = [make_run(seed, model=DROPOUT, task=TEXT) for seed in (3, 5)]
    together = Stack(runs, [None] * 2, CPU, STACK)
    for index, run in enumerate(runs):
        single = alone(run)
        assert torch.equal(together.theta[index], single.theta[0])
        assert torch.equal(together.theta[index], single.layout.flatten(initial_model(run)))
        mine, other = together._prefetcher.draw(1, 5).tensors, single._prefetcher.draw(1, 5).tensors
        assert len(mine) == 3, "tokens, targets and dropout's words"
        assert all(torch.equal(a[:, index], b[:, 0]) for a, b in zip(mine, other, strict=True))


# Predicted are all positions, the last ones, and every other one of those.
@pytest.mark.parametrize("task", [TEXT, ADDITION, TASKS[-1]], ids=lambda task: task.kind)
def test_training_is_a_plain_loop_of_torch(task):
    run = make_run(task=task, lr=0.01, weight_decay=0.1, clip_norm=0.3)
    found = alone(run).advance(50).losses[:, 0]
    model = initial_model(run)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    stack = alone(run)
    losses = []
    for step in range(1, 51):
        batch = stack.task.draw(run.seed, step, 1, 16)
        tokens, targets = torch.from_numpy(batch.tokens[0]), torch.from_numpy(batch.targets[0])
        logits = model(tokens)[:, stack.task.predicted]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.3)
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(found, losses, rtol=1e-4)


def test_a_step_takes_of_earlier_positions_what_the_predicted_ones_read():
    counts = []
    for task in (ADDITION, TEXT):
        stack = alone(make_run(task=task, model=TransformerConfig(d_model=64, n_heads=2)))
        for trims in (True, False):
            stack.objective.model.trims = trims
            with FlopCounterMode(display=False) as counter:
                stack.advance(1)
            counts.append(counter.get_total_flops())
    assert counts[0] < 0.8 * counts[1]
    assert counts[2] == counts[3]


def test_a_resumed_stack_goes_on_bit_for_bit():
    runs = [make_run(seed, model=DROPOUT) for seed in (0, 1)]
    whole = Stack(runs, [None] * 2, CPU, STACK)
    expected = whole.advance(40).losses
    first = Stack(runs, [None] * 2, CPU, STACK)
    first.advance(17)
    second = Stack(runs, [first.state(0), first.state(1)], CPU, STACK)
    np.testing.assert_array_equal(second.advance(23).losses, expected[17:])
    assert torch.equal(second.theta, whole.theta)


def test_a_narrowed_stack_keeps_its_runs():
    runs = [make_run(seed) for seed in range(4)]
    whole = Stack(runs, [None] * 4, CPU, STACK)
    expected = whole.advance(30).losses
    narrowed = Stack(runs, [None] * 4, CPU, STACK)
    narrowed.advance(10)
    narrowed.narrow([1, 3])
    assert [run.seed for run in narrowed.runs] == [1, 3]
    np.testing.assert_allclose(narrowed.advance(20).losses, expected[10:, [1, 3]], rtol=1e-4)


def test_evaluation_is_the_same_however_it_is_cut():
    runs = [make_run(seed, model=DROPOUT, task=TEXT) for seed in range(2)]
    stack = Stack(runs, [None] * 2, CPU, STACK)
    batch = stack.task.held_out(30)
    whole = stack.evaluate(batch, chunk=100)
    parts = stack.evaluate(batch, chunk=7)
    single = alone(runs[1]).evaluate(batch)
    assert list(whole) == list(parts) == list(single)
    for name, values in whole.items():
        np.testing.assert_allclose(values, parts[name], rtol=1e-5)
        np.testing.assert_allclose(values[1], single[name][0], rtol=1e-5)


def test_dropout_masks_have_the_asked_share_and_differ_by_step():
    drawn = dropout_words(0, 1, 3, 40, [600, 400])
    assert drawn.shape == (3, 40, 1000)
    assert not (drawn[0] == drawn[1]).all()
    run = make_run(model=DROPOUT)
    stack = alone(run)
    stack.theta.fill_(0.1)
    noise = stack.draw(1).noise
    assert noise is not None
    share = (noise >= round(0.1 * 65536) - 32768).float().mean().item()
    assert abs(share - 0.9) < 0.01


def test_runs_at_different_steps_or_unstacked_company_are_refused():
    runs = [make_run(0), make_run(1)]
    with pytest.raises(ValueError, match="trains a single run"):
        Stack(runs, [None] * 2, CPU, SOLO)
    ahead = alone(runs[0])
    ahead.advance(3)
    with pytest.raises(ValueError, match="at the same step"):
        Stack(runs, [ahead.state(0), None], CPU, STACK)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_stack_on_a_gpu_equals_one_on_the_cpu(optimizer):
    runs = [make_run(seed, model=DROPOUT, **OPTIMIZERS[optimizer]) for seed in (0, 1)]
    cpu = Stack(runs, [None] * 2, CPU, STACK)
    gpu = Stack(runs, [None] * 2, torch.device("cuda"), STACK)
    assert torch.equal(cpu.theta, gpu.theta.cpu())
    np.testing.assert_allclose(gpu.advance(100).losses, cpu.advance(100).losses, rtol=1e-4)


@pytest.mark.parametrize(("width", "together"), [(8, True), (64, False)])
def test_large_runs_are_evaluated_one_by_one_with_the_same_losses(width, together):
    model = TransformerConfig(d_model=width, n_heads=2)
    runs = [make_run(seed, task=ADDITION, model=model) for seed in range(3)]
    stack = Stack(runs, None, CPU, STACK)
    batch = stack.task.held_out(50)
    assert stack.evaluates_together is together
    losses = [stack.evaluate(batch)["loss"]]
    stack.evaluates_together = not together
    losses.append(stack.evaluate(batch)["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-6)
    if not together:
        one = [alone(run).evaluate(batch)["loss"][0] for run in runs]
        np.testing.assert_array_equal(losses[0], one)
