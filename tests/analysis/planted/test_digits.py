"""The planted digit adder: its answers, its neurons, and their Sobol indices by enumeration."""

import itertools

import numpy as np
import pytest
import torch

from ablab.model.interventions import replace, watch
from ablab.tasks.addition import Addition
from tests.analysis.planted.digits import digit_adder
from tests.analysis.planted.settings import (
    SETTINGS,
    WEIGHTS,
    logits_of,
    losses,
    setting_id,
    without_constant,
)

PLUS, EQUALS = 10, 11


def problems(n_digits):
    """Tokens of all inputs, the digits (B, 2 n), and the answer (the tens digit for n = 2)."""
    digits = np.array(list(itertools.product(range(10), repeat=2 * n_digits)))
    plus, equals = np.full((len(digits), 1), PLUS), np.full((len(digits), 1), EQUALS)
    tokens = np.concatenate([digits[:, :n_digits], plus, digits[:, n_digits:], equals], axis=-1)
    powers = 10 ** np.arange(n_digits)[::-1]
    total = digits[:, :n_digits] @ powers + digits[:, n_digits:] @ powers
    return tokens, digits, total // 10 ** (n_digits - 1) % 10


@pytest.mark.parametrize("n_digits", [1, 2])
@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_all_answers_are_right(settings, n_digits):
    planted = digit_adder(n_digits, **settings)
    tokens, _, answers = problems(n_digits)
    logits = logits_of(planted.model, tokens)[:, -1]
    assert (logits.argmax(-1) == answers).all()
    numbers = np.array([*range(10), -10, -11])
    expected = 8.0 * (2 * numbers * answers[:, None] - numbers**2)
    np.testing.assert_allclose(
        without_constant(logits), without_constant(expected), rtol=1e-3, atol=0.3
    )
    # 8 (r - d)² is the gap to the digit d; the nearest are one or two digits, e^-8 each.
    found = losses(logits, answers)
    assert 0.9 * np.exp(-8) < found.min() < found.max() < 2.2 * np.exp(-8)


@pytest.mark.parametrize("n_digits", [1, 2])
def test_it_solves_the_task(n_digits):
    planted = digit_adder(n_digits)
    task = Addition(planted.task)
    batch = task.held_out(100)
    logits = logits_of(planted.model, batch.tokens)[:, task.predicted]
    assert (logits.argmax(-1) == batch.targets).all()


@pytest.mark.parametrize("n_digits", [1, 2])
@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_each_threshold_is_one_neuron(settings, n_digits):
    planted = digit_adder(n_digits, **settings)
    tokens, digits, _ = problems(n_digits)
    _, seen = watch(planted.model, torch.from_numpy(tokens), ["blocks.0.mlp.post"])
    post = seen["blocks.0.mlp.post"][:, -1].detach().numpy()
    last = digits[:, n_digits - 1] + digits[:, -1]
    np.testing.assert_allclose(post[:, planted.carry], np.where(last >= 10, 1, -1), atol=1e-5)
    if n_digits == 2:
        total = 10 * (digits[:, 0] + digits[:, 2]) + last
        np.testing.assert_allclose(post[:, planted.wrap], np.where(total >= 100, 1, -1), atol=1e-5)
    output = planted.model.blocks[0].mlp.projection.weight.detach()
    used = output.abs().sum(0) > 0
    assert used.tolist() == [i not in planted.idle_neurons for i in range(5)]


@pytest.mark.parametrize("n_digits", [1, 2])
@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_heads_attend_to_the_digits_that_they_add(settings, n_digits):
    planted = digit_adder(n_digits, **settings)
    tokens, _, _ = problems(n_digits)
    _, seen = watch(planted.model, torch.from_numpy(tokens[::7]), ["blocks.0.attn.pattern"])
    pattern = seen["blocks.0.attn.pattern"].detach().numpy()[:, :, -1]
    for head, places in planted.head_positions.items():
        expected = np.zeros(tokens.shape[1])
        expected[list(places)] = 0.5
        error = np.abs(pattern[:, head] - expected).max()
        assert error < WEIGHTS
    assert planted.head_positions[1] == planted.carry_positions
    assert planted.carry_positions == {1: (0, 2), 2: (1, 4)}[n_digits]


def indices(values):
    """First-order and total Sobol indices (2, P) of an array with an axis for each digit."""
    axes = range(values.ndim)
    others = [tuple(axis for axis in axes if axis != own) for own in axes]
    first = [values.mean(rest).var() for rest in others]
    total = [values.var() - values.mean(own).var() for own in axes]
    return np.array([first, total]) / values.var()


@pytest.mark.parametrize("n_digits", [1, 2])
def test_sobol_indices_are_those_of_the_whole_table(n_digits):
    planted = digit_adder(n_digits)
    tokens, _, _ = problems(n_digits)
    _, seen = watch(planted.model, torch.from_numpy(tokens), ["blocks.0.mlp.post"])
    post = seen["blocks.0.mlp.post"][:, -1].detach().double().numpy()
    post = post.reshape(*[10] * 2 * n_digits, 5)
    np.testing.assert_allclose(indices(post[..., planted.carry]), planted.carry_sobol, atol=1e-5)
    assert planted.carry_sobol.shape == (2, len(planted.digit_positions))
    if n_digits == 2:
        found = indices(post[..., planted.wrap])
        np.testing.assert_allclose(found, planted.wrap_sobol, atol=1e-5)
        thirds = [[0, 1 / 3, 0, 1 / 3], [0, 2 / 3, 0, 2 / 3]]
        # The interaction of the two last digits: what they explain together, minus each alone.
        carry = post[..., planted.carry]
        together = carry.mean((0, 2)).var() / carry.var()
        assert together - 2 / 3 == pytest.approx(planted.carry_interaction)
        np.testing.assert_allclose(planted.carry_sobol, thirds)


def test_removing_a_head_or_the_carry_removes_its_part_of_the_answer():
    planted = digit_adder(2)
    tokens, digits, answers = problems(2)
    inputs = torch.from_numpy(tokens)

    def answer(site, index, value):
        def changed(tensor):
            tensor = tensor.clone()
            tensor[:, :, index] = value
            return tensor

        with torch.no_grad():
            return replace(planted.model, inputs, {site: changed})[:, -1].argmax(-1).numpy()

    no_carry = answer("blocks.0.mlp.post", planted.carry, -1.0)
    last, first = digits[:, 1] + digits[:, 3], digits[:, 0] + digits[:, 2]
    wraps = 10 * first + last >= 100
    # The answer becomes -1 for a sum of the first digits of 9 with a carry; the nearest digit is 0.
    assert (no_carry == np.maximum(first - 10 * wraps, 0)).all()
    assert (no_carry == answers).mean() == pytest.approx(1 - 0.45 * 0.9)
    no_ones = answer("blocks.0.attn.z", 1, 0.0)  # the sum of the last digits counts as zero
    assert (no_ones == first % 10).all()
    no_tens = answer("blocks.0.attn.z", 0, 0.0)  # the sum of the first digits counts as zero
    assert (no_tens == (last >= 10)).all()
