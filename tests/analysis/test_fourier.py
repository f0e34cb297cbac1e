"""Fourier spectra and key frequencies of models whose computation is known."""

import numpy as np
import pytest
import torch

import ablab
from ablab.analysis.analyze import analyze
from ablab.config import InputError
from ablab.model.build import build_model
from ablab.model.interventions import watch
from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.modular import Modular
from ablab.tasks.modular_config import ModularConfig
from tests.analysis.fourier_reference import (
    examined,
    gini_by_differences,
    pair_power,
    planted_neurons,
    wave_norms,
)
from tests.analysis.planted.modular import modular_adder, pairs, permuted_adder, untrained_adder
from tests.analysis.planted.settings import SETTINGS, setting_id

KEYS = {29: [2, 5, 11], 59: [6, 7, 12, 14]}
COMPONENTS = 28  # for p = 29


def keys_of(tables):
    return tables["frequencies"].filter(key=True)["frequency"].to_list()


@pytest.fixture(scope="module")
def of_relu():
    adder = modular_adder(29)
    return adder, *examined(adder.model, adder.task, "fourier")


@pytest.fixture(scope="module")
def of_permuted():
    adder = permuted_adder(29)
    return examined(adder.model, adder.task, "fourier")


@pytest.fixture(scope="module")
def of_untrained():
    return examined(*untrained_adder(29), "fourier")


@pytest.mark.parametrize("activation", ["relu", "square"])
@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_the_planted_frequencies_are_found(settings, activation):
    adder = modular_adder(29, activation=activation, **settings)
    scalars, tables, _ = examined(adder.model, adder.task, "fourier", permutations=20)
    assert keys_of(tables) == KEYS[29] and scalars["key_frequencies"] == 3
    # f(δ) is |δ| or δ² with the mean m: a share m² / mean f² of the logits follows a + b.
    m = {"relu": 1 / (29 * np.sin(np.pi / 58)), "square": 1 / 2}[activation]
    share = m**2 / {"relu": 1 / 2, "square": 3 / 8}[activation]
    assert scalars["logits_outside_key_directions"] == pytest.approx(1 - share, abs=2e-3)
    assert scalars["mlp_logits_outside_key_directions"] == pytest.approx(1 - share, abs=2e-3)
    assert scalars["share_of_logits_explained"] == pytest.approx(share, abs=0.02)  # half of them
    assert scalars["share_of_logits_explained_permuted"] < 0.02
    assert scalars["map_outside_key_directions"] < 1e-5
    found = tables["frequencies"].filter(key=True)["amplitude"].to_numpy()
    np.testing.assert_allclose(found, adder.restricted_amplitudes, rtol=0.06)
    sizes = np.zeros(COMPONENTS)
    sizes[:6] = np.repeat(np.sqrt(np.array([40, 48, 44]) / 48), 2)
    assert scalars["gini_embedding"] == pytest.approx(gini_by_differences(sizes), abs=1e-5)


@pytest.mark.parametrize("activation", ["relu", "square"])
def test_a_larger_modulus(activation):
    adder = modular_adder(59, activation=activation, norm="rms", scale=3.0)
    scalars, tables, _ = examined(adder.model, adder.task, "fourier", permutations=20)
    assert keys_of(tables) == KEYS[59]
    assert scalars["gini_embedding"] > 0.8 > 0.3 > scalars["gini_embedding_permuted"]


def test_what_the_docs_say_of_the_planted_adder(of_relu):
    _, scalars, tables, _ = of_relu
    assert scalars["gini_embedding"] == pytest.approx(0.790, abs=5e-4)
    assert scalars["gini_embedding_permuted"] == pytest.approx(0.149, abs=0.01)
    assert scalars["gini_neurons"] == pytest.approx(0.937, abs=5e-4)
    assert scalars["gini_neurons_permuted"] == pytest.approx(0.441, abs=0.01)
    assert scalars["gini_neuron_logit_map"] == pytest.approx(0.793, abs=5e-4)
    assert scalars["gini_neuron_logit_map_permuted"] == pytest.approx(0.150, abs=0.01)
    assert scalars["share_of_logits_explained"] == pytest.approx(0.812, abs=5e-4)
    # In expectation over relabellings, 6 of 28 directions have that share of the squared norm.
    outside = scalars["map_outside_key_directions_permuted"]
    assert outside == pytest.approx(1 - 6 / 28, abs=0.01)
    assert tables["gini"].filter(of="embedding")["p"].item() == pytest.approx(1 / 101)


def test_permuted_answers_have_frequencies_in_the_inputs_only(of_permuted):
    scalars, tables, _ = of_permuted
    assert keys_of(tables) == [] and scalars["share_of_logits_explained"] == 0
    assert scalars["gini_embedding"] == pytest.approx(0.790, abs=5e-4)
    assert scalars["gini_neuron_logit_map"] == pytest.approx(0.142, abs=5e-4)
    gini = {row["of"]: row for row in tables["gini"].to_dicts()}
    assert gini["embedding"]["p"] < 0.05 < 0.2 < gini["neuron_logit_map"]["p"]
    assert scalars["logits_outside_key_directions"] == 1


def test_an_untrained_model_has_none(of_untrained):
    scalars, tables, _ = of_untrained
    assert keys_of(tables) == []
    assert scalars["gini_embedding"] == pytest.approx(0.058, abs=5e-4)
    assert scalars["gini_embedding_permuted"] == pytest.approx(0.050, abs=5e-3)
    assert scalars["gini_neurons"] == pytest.approx(0.567, abs=5e-4)
    assert scalars["gini_neurons_permuted"] == pytest.approx(0.559, abs=0.01)
    assert scalars["gini_neuron_logit_map"] == pytest.approx(0.080, abs=5e-4)
    assert scalars["gini_neuron_logit_map_permuted"] == pytest.approx(0.084, abs=0.01)
    assert (tables["gini"]["p"] > 0.05).all()
    shares = tables["embedding_spectrum"].drop_nulls("share")
    assert (shares["share"] < 2 * shares["share_permuted_95"]).all()


@pytest.mark.parametrize("seed", range(8))
def test_untrained_models_rarely_have_key_frequencies(seed):
    model, task = untrained_adder(29, seed=seed, norm="none", bias=False)
    scalars, tables, _ = examined(model, task, "fourier", permutations=20, seed=seed)
    assert scalars["key_frequencies"] == 0
    assert tables["frequencies"]["p"].min() > 0.01


def test_the_spectra_are_those_of_an_fft(of_untrained):
    model, task = untrained_adder(29)
    scalars, tables, arrays = of_untrained
    embedding = model.embedding.weight.detach().double().numpy()[:29]
    norms = wave_norms(embedding)
    assert scalars["gini_embedding"] == pytest.approx(gini_by_differences(norms))
    own = tables["embedding_spectrum"].filter(frequency=3).row(0, named=True)
    assert [own["cosine"], own["sine"]] == pytest.approx(norms[4:6].tolist())
    assert own["share"] == pytest.approx((norms[4:6] ** 2).sum() / (norms**2).sum())
    assert tables["embedding_spectrum"]["cosine"][0] == pytest.approx(
        np.linalg.norm(embedding.sum(0)) / np.sqrt(29)
    )
    _, seen = watch(model, torch.from_numpy(pairs(task.p)), ["blocks.0.mlp.post"])
    maps = seen["blocks.0.mlp.post"][:, -1].detach().double().numpy().reshape(29, 29, -1)
    power = pair_power(maps)
    np.testing.assert_allclose(arrays["neuron_power"], power / power.sum(), atol=1e-6)
    block, gain = model.blocks[0], model.norm.weight.detach().double().numpy()
    written = block.mlp.projection.weight.detach().double().numpy()
    logit_map = (model.unembedding.weight.detach().double().numpy() * gain) @ (
        written - written.mean(0)
    )
    assert scalars["gini_neuron_logit_map"] == pytest.approx(
        gini_by_differences(wave_norms(logit_map[:29]))
    )


def test_terms_before_and_after_the_neuron_logit_map(of_relu):
    adder, scalars, tables, _ = of_relu
    maps = planted_neurons(adder)
    centred = maps - maps.mean((0, 1))
    a, b = np.ogrid[:29, :29]
    waves = [f(2 * np.pi * k * (a + b) / 29) for k in KEYS[29] for f in (np.cos, np.sin)]
    inside = sum(np.square(np.tensordot(wave, centred, 2)).sum() / (841 / 2) for wave in waves)
    outside = 1 - inside / np.square(centred).sum()
    assert scalars["neurons_outside_key_directions"] == pytest.approx(outside, abs=1e-4)
    assert outside == pytest.approx(0.911, abs=5e-4)
    assert scalars["mlp_logits_outside_key_directions"] == pytest.approx(0.189, abs=5e-4)
    own = tables["terms"].filter(frequency=5, term="cos_difference").row(0, named=True)
    wave = np.cos(2 * np.pi * 5 * (a - b) / 29)
    share = np.square(np.tensordot(wave, centred, 2)).sum() / (841 / 2) / np.square(centred).sum()
    assert own["neurons"] == pytest.approx(share, abs=1e-5)
    assert own["neurons"] > 0.02 > 1e-6 > own["mlp_logits"]
    assert tables["terms"].filter(term="sin_a")["neurons"].max() > 0.05
    assert tables["terms"].filter(term="sin_a", key=True)["logits"].max() < 1e-6


def test_differences_and_products_have_groups_of_their_own():
    config = TransformerConfig(d_model=16, n_heads=2)
    for operation, order in [("a-b", 11), ("a*b", 10), ("b - a", 11)]:
        task = ModularConfig(operation=operation, p=11, train_fraction=0.5)
        model = build_model(config, task.vocab_size, task.input_length, seed=1).eval()
        scalars, tables, arrays = examined(model, task, "fourier", permutations=20)
        assert tables["frequencies"]["frequency"].to_list() == list(range(1, order // 2 + 1))
        assert scalars["key_frequencies"] == 0
        side = order // 2 + 1
        assert arrays["neuron_power"].shape == (side, side)
        assert arrays["neuron_power"].sum() == pytest.approx(1, abs=1e-5)


def test_digits_have_a_group_each():
    task = AdditionConfig(n_digits=2, base=7, target="all")
    config = TransformerConfig(d_model=16, n_heads=2)
    model = build_model(config, task.vocab_size, task.input_length, seed=0).eval()
    found = ablab.analyze(model, "fourier", task=Addition(task), settings={"permutations": 20})
    names = set(found.scalars["name"])
    assert {f"analysis/fourier/digit_{d}/gini_embedding" for d in (0, 1)} <= names
    assert found.tables["frequencies"]["answer"].unique().sort().to_list() == ["digit_0", "digit_1"]
    assert set(found.arrays) == {"digit_0/neuron_power", "digit_1/neuron_power"}
    one = ablab.analyze(
        model, "fourier", task=Addition(task), settings={"permutations": 20, "answer": "digit_1"}
    )
    assert "analysis/fourier/gini_embedding" in set(one.scalars["name"])
    with pytest.raises(InputError, match="no such answer"):
        analyze(model, "fourier", task=Addition(task), settings={"answer": "digit_2"})


def test_where_there_is_no_mlp_or_no_group():
    task = ModularConfig(p=11, train_fraction=0.5)
    config = TransformerConfig(d_model=16, n_heads=2, mlp=None)
    model = build_model(config, task.vocab_size, task.input_length, seed=0).eval()
    scalars, tables, arrays = examined(model, task, "fourier", permutations=20)
    assert scalars["gini_neurons"] is scalars["gini_neuron_logit_map"] is None
    assert scalars["neurons_outside_key_directions"] is None and arrays == {}
    assert scalars["gini_embedding"] is not None and tables["terms"]["neurons"].null_count() == 40
    other = Modular(ModularConfig(operation="a**2+b", p=11, train_fraction=0.5))
    found = analyze(model, "fourier", task=other)
    assert found.scalars.height == 0
    assert found.notes[0].startswith("fourier does not apply: a ** 2 + b is not a sum")


def test_the_published_modulus_with_the_published_frequencies():
    amplitudes = {14: 40.0, 35: 44.0, 41: 48.0, 42: 42.0, 52: 46.0}
    adder = modular_adder(113, keys=amplitudes)
    _, tables, _ = examined(adder.model, adder.task, "fourier", permutations=20)
    keys = tables["frequencies"].filter("key")
    assert keys["frequency"].to_list() == list(amplitudes)
    # The logits are Σ A |cos(w (a - b) / 2)| cos w (a + b - c); the mean of |cos| is 2/π.
    power = np.square(list(amplitudes.values()))
    expected = 8 / np.pi**2 * power / power.sum()
    np.testing.assert_allclose(keys["judged_share"].to_numpy(), expected, atol=0.003)
