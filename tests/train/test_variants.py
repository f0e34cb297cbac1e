"""Every variant of the transformer works in every way that a run can be trained and looked at."""

import numpy as np
import pytest
import torch

from ablab.model.interventions import gradients, sites, watch
from ablab.model.transformer_config import TransformerConfig
from ablab.train.compiled_gradients import CompiledGradients
from ablab.train.method import SOLO, STACK, Method
from ablab.train.stack import Stack, initial_model
from tests.helpers import make_run
from tests.model.reference import VARIANTS

CPU = torch.device("cpu")
INNERMOST = Method("solo", True, "innermost", "plain")
DROPOUTS = [{"attention": {"dropout": 0.2}}, {"attention": {"dropout": 0.2}, "dropout": 0.1}]
ALL = [*VARIANTS, *DROPOUTS]
# Each sort of variant once; the others are slow by their number alone.
EVERY_TIME = [1, 4, 10, 13, 16, 19, 23, 25, 29, 33, 38, 43, 55, 59, 66, 69]


def some(settings):
    """All of them, of which make test takes a few."""
    return [
        pytest.param(each, marks=() if number in EVERY_TIME else pytest.mark.slow, id=str(each))
        for number, each in enumerate(settings)
    ]


def run_of(settings, seed=0, **train):
    model = TransformerConfig(**({"d_model": 8, "n_heads": 4} | settings))
    return make_run(seed, model=model, **train)


_ALONE = {}


def alone(run):
    """A run by itself after ten steps, and its losses; trained once for all tests."""
    key = repr(vars(run))
    if key not in _ALONE:
        stack = Stack([run], None, CPU, SOLO)
        _ALONE[key] = stack, stack.advance(10).losses
    return _ALONE[key]


@pytest.mark.parametrize("settings", some(ALL))
def test_in_a_stack_alone_and_in_evaluation(settings):
    runs = [run_of(settings, seed) for seed in (0, 1)]
    together = Stack(runs, None, CPU, STACK)
    found = together.advance(10).losses
    held_out = together.task.held_out(16)
    evaluated = together.evaluate(held_out)
    for index, run in enumerate(runs):
        stack, losses = alone(run)
        np.testing.assert_allclose(found[:, index], losses[:, 0], rtol=1e-4)
        single = stack.evaluate(held_out)
        np.testing.assert_allclose(evaluated["loss"][index], single["loss"][0], rtol=1e-4)


@pytest.mark.parametrize("settings", some(ALL))
def test_recorded_for_the_innermost_layout(settings):
    stack = Stack([run_of(settings)], None, CPU, SOLO)
    loss, grad, _ = stack._gradients.compute(stack.theta, stack.draw(1).at(0), stack.timings)
    recorded = CompiledGradients(stack.objective, stack.layout, INNERMOST, "key")
    batches = recorded.arrange(stack.draw(1)).at(0)
    function = recorded.function(stack.theta, batches, None, 1.0)
    buffers = stack.objective.buffers.values()
    own = function(stack.theta, *batches.tensors, *buffers)
    torch.testing.assert_close(own["loss"], loss)
    torch.testing.assert_close(own["grad"], grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("settings", some(VARIANTS))
def test_in_bfloat16_and_under_taps(settings):
    half = Stack([run_of(settings, precision="bfloat16")], None, CPU, SOLO).advance(10).losses
    _, full = alone(run_of(settings))
    np.testing.assert_allclose(half, full, rtol=0.1)
    model = initial_model(run_of(settings))
    tokens = torch.randint(0, 10, (2, 8), generator=torch.Generator().manual_seed(0))
    names = sites(model, tokens)
    logits, seen = watch(model, tokens, ["*"])
    assert list(seen) == names
    torch.testing.assert_close(logits, model(tokens), rtol=1e-4, atol=1e-5)
    loss, slopes = gradients(model, tokens, lambda out: out.square().mean(), ["*resid_post"])
    assert loss > 0
    assert all((slope != 0).any() for slope in slopes.values())


@pytest.mark.compiled
@pytest.mark.parametrize("settings", ALL, ids=str)
def test_compiled(settings):
    run = run_of(settings)
    expected = Stack([run], None, CPU, SOLO).advance(50).losses
    found = Stack([run], None, CPU, INNERMOST).advance(50).losses
    np.testing.assert_allclose(found, expected, rtol=1e-4)
