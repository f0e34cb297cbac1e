"""The planted modular adder against formulas that use none of its weights."""

import math

import numpy as np
import pytest
import torch

from ablab.model.interventions import replace, watch
from ablab.tasks.modular import Modular
from tests.analysis.planted.modular import modular_adder, pairs, permuted_adder, untrained_adder
from tests.analysis.planted.settings import (
    SETTINGS,
    WEIGHTS,
    logits_of,
    losses,
    setting_id,
    tolerance,
    without_constant,
)

KEYS = {29: {2: 40, 5: 48, 11: 44}, 59: {6: 40, 7: 48, 12: 44, 14: 42}}
LARGEST = 140.0  # the sum of the amplitudes for p = 29, rounded up


def table(adder):
    """The logits of all pairs at the position of ``=``, (p, p, p + 1)."""
    p = adder.task.p
    return logits_of(adder.model, pairs(p))[:, -1].reshape(p, p, p + 1)


def formula(p, keys, activation):
    """Logits (p, p, p + 1) by the Fourier series of the activation, with the aliases for m = 9."""
    a, b, c = np.ogrid[:p, :p, :p]
    logits = np.zeros((p, p, p + 1))
    for k, amplitude in keys.items():
        u, delta = np.pi * k * (a + b) / p, np.cos(np.pi * k * (a - b) / p)
        turn = np.exp(-2j * np.pi * k * c / p)
        if activation == "square":
            summed = delta**2 * np.exp(2j * u)
        else:
            summed = 0
            for n in range(1, 2000):
                coefficient = 3 * (-1) ** (n + 1) / (4 * n * n - 1)  # c_n / c_1
                if (2 * n - 2) % 9 == 0:
                    summed = summed + coefficient * np.exp(2j * n * u)
                if (2 * n + 2) % 9 == 0:
                    summed = summed + coefficient * np.exp(-2j * n * u)
            summed = summed * np.abs(delta)
        logits[:, :, :p] += amplitude * (summed * turn).real
    return logits


@pytest.mark.parametrize("activation", ["relu", "square"])
@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_logits_are_those_of_the_formula(settings, activation):
    adder = modular_adder(29, activation=activation, **settings)
    found, expected = table(adder), formula(29, KEYS[29], activation)
    found -= found[:, :, 29:]  # the logit of = is zero
    np.testing.assert_allclose(found, expected, atol=tolerance(settings, LARGEST))
    np.testing.assert_allclose(adder.logits(), expected, atol=5e-4)  # the series ends
    targets = np.add.outer(np.arange(29), np.arange(29)) % 29
    assert (found.argmax(-1) == targets).all()
    assert adder.accuracy == 1
    assert losses(found, targets).mean() == pytest.approx(adder.loss, rel=1e-3)


@pytest.mark.parametrize("activation", ["relu", "square"])
def test_a_larger_modulus_and_other_keys(activation):
    adder = modular_adder(59, activation=activation)
    assert adder.key_frequencies.tolist() == [6, 7, 12, 14]
    found, expected = table(adder), formula(59, KEYS[59], activation)
    np.testing.assert_allclose(found, expected, atol=5e-3)
    assert adder.accuracy == 1
    other = modular_adder(11, {4: 30.0, 1: 20.0, 3: 25.0}, activation)
    expected = formula(11, {1: 20, 3: 25, 4: 30}, activation)
    np.testing.assert_allclose(table(other), expected, atol=5e-3)


def test_it_solves_the_task():
    adder = modular_adder()
    task = Modular(adder.task)
    batch = task.held_out(200)
    logits = torch.from_numpy(logits_of(adder.model, batch.tokens)[:, task.predicted])
    targets = torch.from_numpy(batch.targets)
    assert task.measures(logits, torch.from_numpy(batch.tokens), targets)["accuracy"] == 1


@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_the_head_attends_evenly_to_the_operands(settings):
    adder = modular_adder(**settings)
    _, seen = watch(adder.model, torch.from_numpy(pairs(29)), ["blocks.0.attn.pattern"])
    pattern = seen["blocks.0.attn.pattern"][:, adder.head[1], -1].detach()
    error = (pattern - torch.tensor([0.5, 0.5, 0.0])).abs().max()
    assert error < WEIGHTS


@pytest.mark.parametrize("activation", ["relu", "square"])
@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_neurons_have_their_frequency_and_phase(settings, activation):
    adder = modular_adder(activation=activation, **settings)
    sites = ["blocks.0.mlp.pre", "blocks.0.mlp.post"]
    _, seen = watch(adder.model, torch.from_numpy(pairs(29)), sites)
    pre, post = (seen[site][:, -1].detach().double().numpy() / settings["scale"] for site in sites)
    a, b = np.divmod(np.arange(841), 29)
    w = 2 * np.pi * adder.neuron_frequency / 29
    waves = [np.cos(np.outer(operand, w) - adder.neuron_phase) / 2 for operand in (a, b)]
    constants = 2.0 * adder.always_active - 2.0 * adder.dead
    expected = sum(waves) + constants
    if activation == "square":
        expected[:, adder.dead] = 0
    np.testing.assert_allclose(pre, expected, atol=1e-3)
    if activation == "relu":
        assert (pre[:, adder.dead] < -0.9).all()
        assert (post[:, adder.dead] == 0).all()
    np.testing.assert_allclose(post[:, adder.dead], 0, atol=1e-6)
    assert (post[:, adder.always_active] > 0.9).all()
    active = post[:, adder.trigonometric] > 1e-4
    if activation == "relu":
        assert (active.mean(0) > 0.3).all() and (active.mean(0) < 0.7).all()


def test_each_key_has_nine_phases():
    adder = modular_adder()
    assert len(adder.neuron_frequency) == 31
    assert (adder.trigonometric.sum(), adder.always_active.sum(), adder.dead.sum()) == (27, 2, 2)
    assert (1 * adder.trigonometric + adder.always_active + adder.dead == 1).all()
    for k in (2, 5, 11):
        own = np.sort(adder.neuron_phase[adder.trigonometric & (adder.neuron_frequency == k)])
        np.testing.assert_allclose(np.degrees(own), np.arange(0, 360, 40))


def folded_unembedding(adder):
    """W_U with the gain of the last norm, (V, D)."""
    gain = getattr(adder.model.norm, "weight", torch.ones(1))
    return (adder.model.unembedding.weight * gain).detach().double().numpy()


@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_the_product_of_unembedding_and_mlp_cancels_all_but_key_frequencies(settings):
    adder = modular_adder(**settings)
    unembedding = folded_unembedding(adder)
    unembedding /= np.abs(unembedding).max()
    output = adder.model.blocks[0].mlp.projection.weight.detach().double().numpy()  # (D, M)
    product = unembedding @ output
    angles = 2 * np.pi * np.outer(np.arange(29), [2, 5, 11]) / 29
    waves = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1) / math.sqrt(29 / 2)
    waves = np.concatenate([waves, np.zeros((1, 6))])  # no logit of =
    rest = product - waves @ (waves.T @ product)
    assert np.abs(rest).max() < 1e-5 < 0.1 < np.abs(product).max()
    assert np.linalg.matrix_rank(product, tol=1e-4) == 6
    assert np.linalg.matrix_rank(output, tol=1e-4) == 6 + len(adder.unread) == 10
    assert np.linalg.matrix_rank(unembedding, tol=1e-4) == 6 + len(adder.unwritten) == 10
    assert np.abs(adder.unread @ output).max() > 0.3
    assert np.abs(unembedding @ adder.unread.T).max() < 1e-5
    assert np.abs(unembedding @ adder.unwritten.T).max() > 0.1
    assert np.abs(adder.unwritten @ output).max() < 1e-5


@pytest.mark.parametrize("activation", ["relu", "square"])
def test_restricted_amplitudes_are_those_of_the_sum(activation):
    adder = modular_adder(activation=activation)
    a, b, c = np.ogrid[:29, :29, :29]
    for place, k in enumerate((2, 5, 11)):
        wave = np.cos(2 * np.pi * k * (a + b - c) / 29)
        coefficient = 2 * (table(adder)[:, :, :29] * wave).mean()
        assert coefficient == pytest.approx(adder.restricted_amplitudes[place], rel=1e-4)
    half = {"relu": 40 / (29 * math.sin(math.pi / 58)), "square": 20.0}[activation]
    assert adder.restricted_amplitudes[0] == pytest.approx(half)


@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_the_embedding_has_the_key_frequencies(settings):
    adder = modular_adder(**settings)
    embedding = adder.model.embedding.weight.detach().double().numpy()[:29]
    power = (np.abs(np.fft.rfft(embedding, axis=0)) ** 2).sum(-1)
    assert set(np.flatnonzero(power[1:] > 1e-6 * power[1:].max()) + 1) == {2, 5, 11}
    # Each of cos and sin has the power (29 E / 2)², times the squared scale; E² is A / 48.
    expected = 2 * (29 / 2) ** 2 * np.array([40, 48, 44]) / 48 * settings["scale"] ** 2
    np.testing.assert_allclose(power[[2, 5, 11]], expected, rtol=1e-4)


def key_share(matrix):
    """The share of the power over the first axis that is at the frequencies 2, 5 and 11."""
    power = (np.abs(np.fft.rfft(matrix, axis=0)) ** 2).sum(-1)
    return power[[2, 5, 11]].sum() / power[1:].sum()


def test_the_permuted_control_has_no_frequencies_in_its_answers():
    adder, control = modular_adder(), permuted_adder()
    assert sorted(control.answers) == list(range(29))
    sums = np.add.outer(np.arange(29), np.arange(29)) % 29
    found = table(control)
    np.testing.assert_allclose(found[:, :, control.answers], table(adder)[:, :, :29])
    assert (found.argmax(-1) == control.answers[sums]).all()
    right = (control.answers == np.arange(29)).mean()
    assert control.accuracy == pytest.approx(right)
    assert right < 0.2
    assert losses(found, sums).mean() == pytest.approx(control.loss, rel=1e-4)
    assert control.loss > math.log(29)
    assert key_share(table(adder).reshape(841, 30)[:, :29].T) == pytest.approx(1, abs=1e-6)
    assert key_share(found.reshape(841, 30)[:, :29].T) < 0.5  # 6 of 28 dimensions by chance
    embeddings = (each.model.embedding.weight.detach() for each in (adder, control))
    assert torch.equal(*embeddings)


def test_the_untrained_control_has_no_structure():
    model, task = untrained_adder()
    logits = logits_of(model, pairs(29))[:, -1]
    targets = np.add.outer(np.arange(29), np.arange(29)).ravel() % 29
    assert (logits.argmax(-1) == targets).mean() < 0.15
    assert key_share(model.embedding.weight.detach().numpy()[:29]) < 0.5
    assert model.config.d_mlp == modular_adder().model.config.d_mlp
    assert task == modular_adder().task


def test_the_path_around_the_mlp_does_not_matter():
    adder = modular_adder(bias=True)
    tokens = torch.from_numpy(pairs(29))
    _, seen = watch(adder.model, tokens, ["blocks.0.mlp_out"])
    with torch.no_grad():
        logits = replace(
            adder.model, tokens, {"blocks.0.resid_post": lambda _: seen["blocks.0.mlp_out"]}
        )
        torch.testing.assert_close(logits, adder.model(tokens), rtol=1e-4, atol=1e-3)


def test_biases_do_not_change_probabilities():
    plain, biased = (modular_adder(scale=2.0, bias=bias) for bias in (False, True))
    assert biased.model.blocks[0].attention.key.bias.abs().max() > 0.1
    assert biased.model.unembedding.bias.abs().max() > 0.01
    np.testing.assert_allclose(
        without_constant(table(plain)), without_constant(table(biased)), atol=2e-3
    )
