"""Evaluation in another precision than training."""

import numpy as np
import pytest
import torch

from ablab.train.config import TrainConfig
from ablab.train.losses import batch_loss
from ablab.train.method import SOLO, STACK
from ablab.train.objective import DTYPES
from ablab.train.stack import Stack, initial_model
from tests.helpers import make_run

CPU = torch.device("cpu")


def run_of(precision, seed=0, train="float32"):
    evaluate = {"every": 50, "samples": 32, "precision": precision}
    return make_run(seed, precision=train, evaluate=evaluate)


def expected_loss(run, stack, batch):
    """The loss of the stack's only run, with torch alone."""
    precision = run.train.evaluation_precision
    model = initial_model(run).to(DTYPES[precision])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(stack.layout.views(stack.theta)[name][0])
        half = precision == "bfloat16"
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = model(torch.from_numpy(batch.tokens))[:, stack.task.predicted]
    dtype = torch.float64 if precision == "float64" else torch.float32
    return batch_loss(logits, torch.from_numpy(batch.targets), run.train.loss, dtype, False)


@pytest.mark.parametrize(
    ("train", "precision"),
    [("float32", "float64"), ("float32", "bfloat16"), ("bfloat16", "float32"),
     ("float64", "float32"), ("float64", "bfloat16")],
)  # fmt: skip
def test_losses_are_those_of_the_other_precision(train, precision):
    run = run_of(precision, train=train)
    stack, plain = Stack([run], None, CPU, SOLO), Stack([run_of(None, 0, train)], None, CPU, SOLO)
    batch = stack.task.held_out(32)
    assert stack.advance(5).losses.tolist() == plain.advance(5).losses.tolist()
    found, own = stack.evaluate(batch), plain.evaluate(batch)
    exact = float(expected_loss(run, stack, batch))
    np.testing.assert_allclose(found["loss"][0], exact, rtol=2e-7)
    assert found["loss"][0] != own["loss"][0]
    assert set(found) == set(own)
    np.testing.assert_allclose(found["loss"], own["loss"], rtol=2e-2)
    assert stack.advance(5).losses.tolist() == plain.advance(5).losses.tolist()


@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
def test_in_a_stack_as_alone(precision):
    runs = [run_of(precision, seed) for seed in (0, 1)]
    together = Stack(runs, None, CPU, STACK)
    batch = together.task.held_out(32)
    for _ in range(2):
        together.advance(5)
        found = together.evaluate(batch)
        for index, run in enumerate(runs):
            alone = Stack([run], None, CPU, SOLO)
            alone.advance(together.step)
            single = alone.evaluate(batch)
            tolerance = 1e-2 if precision == "bfloat16" else 1e-4
            np.testing.assert_allclose(found["loss"][index], single["loss"][0], rtol=tolerance)


def test_another_precision_is_in_the_id_and_in_the_key_of_stacks():
    plain = run_of(None)
    same, other = run_of("float32"), run_of("bfloat16")
    assert plain.train.identity() == same.train.identity() != other.train.identity()
    assert other.stack_key != plain.stack_key
    assert TrainConfig(precision="bfloat16").evaluation_precision == "bfloat16"
