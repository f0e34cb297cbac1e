"""Neurons of models whose computation is known."""

import numpy as np
import pytest
import torch

import ablab
from ablab.analysis.methods.nine_terms import fit_nine_terms
from ablab.model.build import build_model
from ablab.model.interventions import replace, watch
from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.modular import Modular
from ablab.tasks.modular_config import ModularConfig
from tests.analysis.fourier_reference import examined, fitted_shares, planted_neurons
from tests.analysis.planted.modular import modular_adder, pairs, permuted_adder, untrained_adder
from tests.analysis.planted.settings import SETTINGS, setting_id

N = 29
POST = "blocks.0.mlp.post"


@pytest.mark.parametrize("activation", ["relu", "square"])
@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_each_neuron_has_its_kind_and_frequency(settings, activation):
    adder = modular_adder(N, activation=activation, **settings)
    scalars, tables, _ = examined(
        adder.model, adder.task, "neurons", permutations=20, explained=0.75
    )
    table = tables["neurons"]
    kinds = table["kind"].to_numpy()
    np.testing.assert_array_equal(kinds == "frequency", adder.trigonometric)
    np.testing.assert_array_equal(kinds == "always_active", adder.always_active)
    np.testing.assert_array_equal(kinds == "dead", adder.dead)
    own = table.filter(kind="frequency")
    np.testing.assert_array_equal(
        own["frequency"].to_numpy(), adder.neuron_frequency[adder.trigonometric]
    )
    assert (scalars["always_active"], scalars["dead"], scalars["frequencies"]) == (2, 2, 3)
    clusters = tables["clusters"].filter(kind="frequency")
    assert clusters["frequency"].to_list() == [2, 5, 11]
    assert clusters["neurons"].to_list() == [9, 9, 9]
    expected = fitted_shares(planted_neurons(adder)[:, :, adder.trigonometric]).max(1)
    np.testing.assert_allclose(own["fitted"].to_numpy(), expected, atol=1e-3)
    assert (own["p_corrected"] < 0.06).all()
    np.testing.assert_allclose(own["explained"].to_numpy(), expected, atol=0.01)


def test_squares_are_explained_by_four_fifths():
    """(cos x + cos y)² / 4 has the terms cos x cos y / 2, and cos 2x / 8 and cos 2y / 8.

    Their variances are 1 / 16 and 1 / 128 each; the latter have twice the frequency.
    """
    a = 2 * np.pi * np.arange(N) / N
    maps = np.square(np.add.outer(np.cos(3 * a), np.cos(3 * a)))[:, :, None]
    found = fit_nine_terms(maps, permutations=20, seed=0)
    assert found.frequency.tolist() == [3]
    assert found.in_sample[0, 2] == pytest.approx(0.8)
    assert found.in_sample[0, 5] == pytest.approx(0.2)


def test_what_the_docs_say_of_planted_neurons():
    adder = modular_adder(N)
    scalars, tables, arrays = examined(adder.model, adder.task, "neurons")
    assert scalars["neurons_of_one_frequency"] == scalars["neurons_that_matter"] == 27
    assert scalars["share_of_one_frequency"] == pytest.approx(27 / 29)
    assert scalars["median_explained"] == pytest.approx(0.961, abs=2e-3)
    assert scalars["median_fitted"] == pytest.approx(0.962, abs=2e-3)
    assert scalars["median_fitted_permuted"] == pytest.approx(0.184, abs=0.02)
    assert scalars["change_without_neurons"] == pytest.approx(np.log(30), abs=1e-3)
    matters = tables["neurons"]["change_p_corrected"].to_numpy() < 0.05
    np.testing.assert_array_equal(matters, adder.trigonometric)
    idle = tables["neurons"]["change"].to_numpy()[~adder.trigonometric]
    np.testing.assert_allclose(idle, 0, atol=1e-9)
    kept = tables["maps"]["neuron"].to_numpy()
    expected = planted_neurons(adder)[:, :, kept].transpose(2, 0, 1)
    np.testing.assert_allclose(arrays["maps"], expected, atol=1e-4)
    assert arrays["maps"].dtype == np.float32 and arrays["map_power"].shape == (16, 15, 15)
    np.testing.assert_allclose(arrays["map_power"].sum((1, 2)), 1, rtol=1e-5)
    np.testing.assert_allclose(
        arrays["shares"][adder.trigonometric],
        fitted_shares(planted_neurons(adder)[:, :, adder.trigonometric]),
        atol=1e-4,
    )
    cluster = tables["clusters"].filter(kind="frequency")["change"]
    assert ((cluster > 0.005) & (cluster < 0.03)).all()
    assert tables["curve"]["removed"][4] == pytest.approx(3.9, abs=0.1)  # four of a cluster
    assert tables["clusters"].filter(kind="dead")["change"].item() == 0


def test_neurons_of_permuted_answers_do_not_help():
    control = permuted_adder(N)
    scalars, tables, _ = examined(control.model, control.task, "neurons", permutations=20)
    assert scalars["neurons_of_one_frequency"] == 27  # they still turn the operands
    assert scalars["neurons_that_matter"] == 0
    assert scalars["change_without_neurons"] == pytest.approx(-69.7, abs=0.05)
    assert scalars["neurons_for_90_percent"] is scalars["neurons_retained_for_90_percent"] is None
    assert (tables["neurons"]["change_p_corrected"] == 1).all()


def test_untrained_neurons_have_no_frequency():
    model, task = untrained_adder(N, norm="none", bias=False)
    scalars, tables, _ = examined(model, task, "neurons")
    assert scalars["neurons_of_one_frequency"] == scalars["frequencies"] == 0
    assert scalars["median_fitted"] == pytest.approx(scalars["median_fitted_permuted"], rel=0.3)
    known = tables["neurons"].drop_nulls("p")
    assert (known["p_corrected"] > 0.05).all()


def test_what_the_docs_say_of_untrained_neurons():
    scalars, _, _ = examined(*untrained_adder(N), "neurons")
    assert scalars["neurons_of_one_frequency"] == scalars["neurons_that_matter"] == 0
    assert (scalars["always_active"], scalars["dead"]) == (4, 3)
    assert scalars["median_explained"] == pytest.approx(0.145, abs=2e-3)
    assert scalars["median_fitted"] == pytest.approx(0.177, abs=2e-3)
    assert scalars["median_fitted_permuted"] == pytest.approx(0.182, abs=0.01)
    assert scalars["change_without_neurons"] == pytest.approx(-0.029, abs=1e-3)


def test_p_values_of_random_functions_are_uniform():
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(13, 8, 400))  # own embeddings for each neuron
    inputs = (vectors[:, None] + vectors[None]).transpose(0, 1, 3, 2) @ rng.normal(size=8)
    found = fit_nine_terms(np.maximum(inputs, 0), permutations=39, seed=0)
    # Of 400 · 0.1 and 400 · 0.5, four standard deviations.
    assert 16 <= (found.p <= 0.1).sum() <= 64
    assert 160 <= (found.p <= 0.5).sum() <= 240
    assert (found.p_corrected >= found.p).all()
    assert found.explained.mean() < found.in_sample.max(1).mean()


def ablated_losses(model, tokens, position, neurons):
    """Each sample's loss with neurons replaced by their means, by a pass of the model."""
    sums = torch.from_numpy(np.add.outer(np.arange(N), np.arange(N)).ravel() % N)

    def changed(x):
        x = x.clone()
        x[:, position, neurons] = x[:, position, neurons].mean(0)
        return x

    with torch.no_grad():
        logits = replace(model, tokens, {POST: changed})[:, position].double()
    return torch.nn.functional.cross_entropy(logits, sums, reduction="none").numpy()


@pytest.mark.parametrize(
    "model",
    [
        {"norm": "none", "bias": False},
        {"norm": "layer", "norm_place": "post"},
        {"norm": "rms", "mlp": {"activation": "gelu", "gated": True}},
        {"norm": "layer", "mlp": {"norm": "rms", "activation": "relu"}},
        {"n_layers": 2, "blocks": {1: {"mlp": None}}},
    ],
    ids=["none", "post", "gated", "norm-in-mlp", "attention-last"],
)
def test_ablations_agree_with_passes_of_the_model(model):
    task = ModularConfig(p=N, train_fraction=0.4)
    config = TransformerConfig(d_model=12, n_heads=2, d_mlp=10, init_std=0.4, **model)
    built = build_model(config, task.vocab_size, task.input_length, seed=1).eval()
    scalars, tables, _ = examined(built, task, "neurons", permutations=20)
    tokens = torch.from_numpy(pairs(N))
    base = ablated_losses(built, tokens, 2, [])
    train = Modular(task).table().train
    for row in tables["neurons"].to_dicts():
        changes = ablated_losses(built, tokens, 2, [row["neuron"]]) - base
        assert row["change"] == pytest.approx(changes.mean(), abs=2e-6)
        assert row["change_train"] == pytest.approx(changes[train].mean(), abs=3e-6)
        assert row["change_held_out"] == pytest.approx(changes[~train].mean(), abs=3e-6)
        assert row["change_error"] == pytest.approx(changes.std() / N, rel=1e-3, abs=1e-7)
    _, seen = watch(built, tokens, [POST, "blocks.0.mlp.pre"])
    active = (seen["blocks.0.mlp.pre"][:, 2] > 0).double().mean(0)
    np.testing.assert_allclose(tables["neurons"]["active"], active, atol=1e-9)
    if "curve" not in tables:
        assert scalars["change_without_neurons"] is None
        return
    curve = tables["curve"]
    assert curve["neurons"].to_list() == list(range(11))
    assert curve["removed"][0] == curve["retained"][-1] == pytest.approx(base.mean(), rel=0.1)
    whole = ablated_losses(built, tokens, 2, list(range(10)))
    for column in ("removed", "random"):
        assert curve[column][-1] == pytest.approx(curve["retained"][0])
    assert curve["retained"][0] == pytest.approx(whole.mean(), rel=0.1)
    of = tables["clusters"].filter(kind="other")
    own = tables["neurons"].filter(kind="other")["neuron"].to_list()
    together = ablated_losses(built, tokens, 2, own).mean() - base.mean()
    assert of["change"].item() == pytest.approx(together, abs=1e-5)


def test_the_curve_finds_the_few_neurons_that_matter():
    adder = modular_adder(N)
    with torch.no_grad():  # three phases of each frequency do more than the others
        heavy = adder.trigonometric & (adder.neuron_phase < 0.1)
        adder.model.blocks[0].mlp.projection.weight[:, torch.from_numpy(heavy)] *= 5
    _, tables, _ = examined(adder.model, adder.task, "neurons", permutations=20)
    first = tables["maps"]["neuron"].to_list()[:3]
    assert set(first) == set(np.flatnonzero(heavy))
    curve = tables["curve"]
    assert curve["removed"][3] > curve["random"][3]


def test_where_it_does_not_apply():
    task = ModularConfig(p=11, train_fraction=0.5)
    config = TransformerConfig(d_model=16, n_heads=2, mlp=None)
    model = build_model(config, task.vocab_size, task.input_length, seed=0).eval()
    found = ablab.analyze(model, "neurons", task=Modular(task))
    assert found.notes == ("neurons does not apply: the model has no MLP",)
    found = ablab.analyze(torch.nn.Linear(2, 2), "neurons", task=Modular(task))
    assert found.notes == ("neurons does not apply: a Linear is not a transformer of ablab",)
