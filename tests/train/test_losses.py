"""Each loss against float64 NumPy or torch's own, in every engine, whatever samples' lengths."""

from itertools import product

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from ablab.tasks.config import IGNORED
from ablab.train.config import LossConfig, TrainConfig
from ablab.train.losses import batch_loss, log_stablemax
from ablab.train.method import SOLO, STACK, Method
from ablab.train.stack import Stack
from tests.helpers import ADDITION, BIGRAM, make_run
from tests.train.my_tasks import RaggedConfig

CPU = torch.device("cpu")
RAGGED = RaggedConfig(n_digits=2, target="all")
INNERMOST = Method("stack", True, "innermost", "plain", rows=1)
COMPILED = {
    "usual": Method("stack", True, rows=1),
    "innermost": INNERMOST,
    "innermost, two rows, parts": Method("stack", True, "innermost", "plain", rows=2, samples=4),
}
LOSSES = {
    "plain": {},
    "smoothed": {"label_smoothing": 0.2},
    "z": {"z_loss": 0.01},
    "stablemax": {"kind": "stablemax", "label_smoothing": 0.1},
    "mse": {"kind": "mse"},
}


def drawn(batch=4, positions=3, size=7):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(batch, positions, size, generator=generator, dtype=torch.float64)
    targets = torch.randint(size, (batch, positions), generator=generator)
    return logits, targets


def found(config, logits, targets, ragged=False):
    return batch_loss(logits, targets, LossConfig(**config), torch.float64, ragged)


def test_smoothing_is_torchs():
    logits, targets = drawn()
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=0.2)
    torch.testing.assert_close(found({"label_smoothing": 0.2}, logits, targets), expected)


def test_z_loss_is_the_square_of_the_log_denominator():
    logits, targets = drawn()
    log_z = np.log(np.exp(logits.numpy()).sum(-1))
    added = found({"z_loss": 0.3}, logits, targets) - found({}, logits, targets)
    assert added.item() == pytest.approx(0.3 * (log_z**2).mean(), rel=1e-10)


def test_stablemax_is_its_papers():
    logits, targets = drawn()
    x = logits.numpy()
    s = np.array([v + 1 if v >= 0 else 1 / (1 - v) for v in x.flat]).reshape(x.shape)
    p = np.take_along_axis(s / s.sum(-1, keepdims=True), targets.numpy()[..., None], -1)
    assert found({"kind": "stablemax"}, logits, targets).item() == pytest.approx(
        -np.log(p).mean(), rel=1e-10
    )


def test_stablemax_has_a_gradient_at_zero_one_and_far_away():
    logits = torch.tensor([0.0, 1.0, 1e6, -1e6, 30.0], requires_grad=True)
    log_p = log_stablemax(logits)
    log_p[0].backward()
    s = np.array([1.0, 2.0, 1e6 + 1, 1 / (1 + 1e6), 31.0])
    slope = np.array([1.0, 1.0, 1.0, 1 / (1 + 1e6) ** 2, 1.0])  # s'(x)
    expected = np.array([1.0, 0, 0, 0, 0]) - slope / s.sum()
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad.numpy(), expected, rtol=1e-5)
    assert torch.isfinite(log_p).all()


def test_squared_error_is_against_one_hot_targets():
    logits, targets = drawn()
    hot = np.eye(7)[targets.numpy()]
    expected = ((logits.numpy() - hot) ** 2).mean()
    assert found({"kind": "mse"}, logits, targets).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_ragged_batch_is_the_mean_of_its_samples_alone(loss):
    logits, targets = drawn()
    lengths = [3, 1, 2, 0]
    for sample, length in zip(targets, lengths, strict=True):
        sample[length:] = IGNORED
    alone = [
        found(loss, logits[i : i + 1, :length], targets[i : i + 1, :length]).item()
        for i, length in enumerate(lengths[:3])
    ]
    together = found(loss, logits, targets, ragged=True).item()
    assert together == pytest.approx(sum(alone) / 4, rel=1e-10)


def test_without_ignored_targets_ragged_changes_nothing():
    logits, targets = drawn()
    for loss in LOSSES.values():
        torch.testing.assert_close(
            found(loss, logits, targets, ragged=True), found(loss, logits, targets)
        )


def agree(loss, task, *methods, steps=20, **parts):
    runs = [make_run(seed, task=task, loss=loss, lr=0.01, **parts) for seed in (0, 1)]
    alone = [Stack([run], None, CPU, SOLO).advance(steps).losses[:, 0] for run in runs]
    for method in methods:
        together = Stack(runs, None, CPU, method).advance(steps).losses
        np.testing.assert_allclose(together, np.stack(alone, axis=1), rtol=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_run_k_of_a_stack_equals_run_k_alone_with_every_loss(loss):
    agree(LOSSES[loss], RAGGED, STACK, Method("stack", samples=5))


def test_a_ragged_loss_agrees_with_the_batch_innermost():
    agree(LOSSES["stablemax"], RAGGED, INNERMOST, model=BIGRAM)


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("loss", "task", "method"), list(product(LOSSES, (ADDITION, RAGGED), COMPILED))
)
def test_compiled_methods_agree_with_every_loss(loss, task, method):
    agree(LOSSES[loss], task, COMPILED[method])


def test_evaluation_has_the_trained_loss_and_cross_entropy():
    plain, other = make_run(model=BIGRAM), make_run(model=BIGRAM, loss={"kind": "mse"})
    stacks = [Stack([run], None, CPU, SOLO) for run in (plain, other)]
    batch = stacks[0].task.held_out(20)
    first, second = (stack.evaluate(batch) for stack in stacks)
    assert "cross_entropy" not in first
    np.testing.assert_allclose(second["cross_entropy"], first["loss"])
    assert second["loss"] != first["loss"]


def test_programs_and_ids_tell_losses_apart():
    runs = [make_run(loss=loss) for loss in LOSSES.values()]
    assert len({run.program_key for run in runs}) == len(LOSSES)
    assert LossConfig(dtype="float32").identity() == {"dtype": "float32"}
    assert TrainConfig(loss="mse").loss.identity() == {"dtype": "float32", "kind": "mse"}


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ({"kind": "mse", "label_smoothing": 0.1}, "label_smoothing is a setting of"),
        ({"kind": "stablemax", "z_loss": 0.1}, "z_loss is a setting of cross_entropy"),
        ({"label_smoothing": 1.0}, "less than 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(loss, message):
    with pytest.raises(ValidationError, match=message):
        LossConfig(**loss)
