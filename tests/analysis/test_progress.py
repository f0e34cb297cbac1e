"""Restricted and excluded losses of models whose computation is known."""

import numpy as np
import pytest
import torch

from ablab.config import InputError
from ablab.model.build import build_model
from ablab.model.interventions import replace, watch
from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.modular import Modular
from ablab.tasks.modular_config import ModularConfig
from tests.analysis.fourier_reference import examined, trigonometric_loss
from tests.analysis.planted.modular import modular_adder, pairs, permuted_adder, untrained_adder
from tests.analysis.planted.settings import SETTINGS, setting_id

N = 29
SUMS = np.add.outer(np.arange(N), np.arange(N)).ravel() % N
POST = "blocks.0.mlp.post"


def in_waves(values, keys):
    """The mean of (841, C) and its waves in a + b, (841, C) each, by an FFT over the sum."""
    by_sum = np.stack([values[s == SUMS].mean(0) for s in range(N)])
    spectrum = np.fft.fft(by_sum, axis=0)
    kept = np.isin(np.minimum(np.arange(N), N - np.arange(N)), keys)
    waves = np.fft.ifft(spectrum * kept[:, None], axis=0).real
    return np.broadcast_to(by_sum.mean(0), values.shape), waves[SUMS]


def split_losses(logits, task):
    """The mean cross-entropy of training samples and of the others."""
    losses = torch.nn.functional.cross_entropy(
        torch.from_numpy(np.ascontiguousarray(logits)), torch.from_numpy(SUMS), reduction="none"
    ).numpy()
    train = Modular(task).table().train
    return losses[train].mean(), losses[~train].mean()


def assert_losses(scalars, name, logits, task, **tolerance):
    train, held_out = split_losses(logits, task)
    assert scalars[f"{name}_train"] == pytest.approx(train, **tolerance)
    assert scalars[f"{name}_held_out"] == pytest.approx(held_out, **tolerance)


@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_the_planted_circuit_is_all_that_matters(settings):
    adder = modular_adder(N, **settings)
    scalars, tables, _ = examined(adder.model, adder.task, "progress")
    assert scalars["key_frequencies"] == 3
    assert tables["frequencies"]["frequency"].to_list() == [2, 5, 11]
    expected = trigonometric_loss(adder)
    assert scalars["trigonometric_loss"] == pytest.approx(expected, rel=0.3)
    with_equals = trigonometric_loss(adder, [0.0])
    for part in ("train", "held_out"):
        for where in ("logits", "neurons"):
            restricted = scalars[f"restricted_loss_{where}_{part}"]
            assert restricted == pytest.approx(with_equals, rel=0.3)
            assert scalars[f"excluded_loss_{where}_{part}"] > 25 > np.log(N)
        assert scalars[f"loss_{part}"] == pytest.approx(adder.loss, rel=0.4)
    assert (tables["frequencies"]["excluded_loss_logits_train"] > 3).all()
    assert (tables["frequencies"]["restricted_loss_logits_train"] < 1).all()


def test_what_the_docs_say_of_the_planted_adder():
    adder = modular_adder(N)
    scalars, _, _ = examined(adder.model, adder.task, "progress")
    assert scalars["restricted_loss_logits_held_out"] == pytest.approx(2.4e-16, rel=0.05)
    assert scalars["restricted_loss_neurons_held_out"] == pytest.approx(2.4e-16, rel=0.05)
    assert scalars["trigonometric_loss"] == pytest.approx(2.3e-16, rel=0.02)
    assert trigonometric_loss(adder) == pytest.approx(2.3e-16, rel=0.02)
    assert scalars["loss_held_out"] == pytest.approx(1.9e-6, rel=0.02)
    assert scalars["excluded_loss_logits_train"] == pytest.approx(31.25, abs=0.01)
    assert scalars["excluded_loss_neurons_train"] == pytest.approx(31.25, abs=0.01)
    control = permuted_adder(N)
    given, _, _ = examined(control.model, control.task, "progress", frequencies=[2, 5, 11])
    for where in ("logits", "neurons"):
        assert given[f"restricted_loss_{where}_held_out"] == pytest.approx(72.5, abs=0.05)
        assert given[f"excluded_loss_{where}_train"] == pytest.approx(31.7, abs=0.05)
    assert given["trigonometric_loss"] == pytest.approx(3.20, abs=0.005)
    found, tables, _ = examined(control.model, control.task, "progress")
    assert found["key_frequencies"] == 0 and tables["frequencies"].height == 0
    assert found["excluded_loss_logits_train"] == pytest.approx(found["loss_train"])
    assert found["trigonometric_loss"] == pytest.approx(np.log(N))


def test_the_untrained_control_neither_gains_nor_loses():
    model, task = untrained_adder(N)
    scalars, _, _ = examined(model, task, "progress", frequencies=[2, 5, 11])
    assert scalars["loss_held_out"] == pytest.approx(3.607, abs=1e-3)
    assert scalars["restricted_loss_logits_held_out"] == pytest.approx(3.549, abs=1e-3)
    assert scalars["restricted_loss_neurons_held_out"] == pytest.approx(3.586, abs=1e-3)
    assert scalars["excluded_loss_logits_train"] == pytest.approx(3.592, abs=1e-3)
    assert scalars["trigonometric_loss"] == pytest.approx(3.369, abs=1e-3)
    for where in ("logits", "neurons"):
        assert scalars[f"excluded_loss_{where}_train"] == pytest.approx(
            scalars["loss_train"], abs=0.02
        )
        assert abs(scalars[f"restricted_loss_{where}_held_out"] - np.log(N + 1)) < 0.3


@pytest.mark.parametrize(
    "model",
    [
        {"norm": "layer", "bias": True},
        {"norm": "rms", "mlp": {"activation": "silu", "gated": True}},
        {"norm": "layer", "norm_place": "post"},
        {"norm": "frobenius", "layer_scale": 0.3},
        {"norm": "none", "mlp": {"activation": "tanh", "output_projection": False}},
        {"norm": "layer", "mlp": {"norm": "rms"}},
        {"n_layers": 2, "blocks": {1: {"mlp": None}}},
    ],
    ids=["layer", "gated", "post", "scaled", "without-output", "norm-in-mlp", "attention-last"],
)
def test_all_losses_agree_with_an_fft_and_passes_of_the_model(model):
    task = ModularConfig(p=N, train_fraction=0.4)
    config = TransformerConfig(d_model=16, n_heads=2, init_std=0.3, **model)
    built = build_model(config, task.vocab_size, task.input_length, seed=3).eval()
    keys = [3, 7]
    scalars, tables, _ = examined(built, task, "progress", frequencies=keys)
    tokens = torch.from_numpy(pairs(N))
    logits, seen = watch(built, tokens, [POST])
    logits = logits[:, -1].detach().double().numpy()
    neurons = seen[POST][:, -1].detach().double().numpy()
    close = {"rel": 1e-4}
    assert_losses(scalars, "loss", logits, task, **close)
    constant, waves = in_waves(logits, keys)
    assert_losses(scalars, "restricted_loss_logits", constant + waves, task, **close)
    assert_losses(scalars, "excluded_loss_logits", logits - waves, task, **close)

    def with_neurons(changed):
        def written(x):
            x = x.clone()
            x[:, -1] = torch.from_numpy(changed).to(x)
            return x

        with torch.no_grad():
            return replace(built, tokens, {POST: written})[:, -1].double().numpy()

    constant, waves = in_waves(neurons, keys)
    restricted, excluded = with_neurons(constant + waves), with_neurons(neurons - waves)
    assert_losses(scalars, "restricted_loss_neurons", restricted, task, **close)
    assert_losses(scalars, "excluded_loss_neurons", excluded, task, **close)
    assert abs(split_losses(restricted, task)[0] - split_losses(excluded, task)[0]) > 1e-5
    _, alone = in_waves(neurons, [7])
    row = tables["frequencies"].filter(frequency=7).row(0, named=True)
    expected = split_losses(with_neurons(neurons - alone), task)
    assert row["excluded_loss_neurons_train"] == pytest.approx(expected[0], **close)
    squares = sum(float(each.detach().double().square().sum()) for each in built.parameters())
    assert scalars["sum_of_squared_weights"] == pytest.approx(squares)


def test_a_model_without_an_mlp_has_no_losses_of_neurons():
    task = ModularConfig(p=11, train_fraction=0.5)
    config = TransformerConfig(d_model=16, n_heads=2, mlp=None)
    model = build_model(config, task.vocab_size, task.input_length, seed=0).eval()
    scalars, tables, _ = examined(model, task, "progress", frequencies=[2])
    assert scalars["restricted_loss_neurons_train"] is None
    assert scalars["restricted_loss_logits_train"] > 0
    assert tables["frequencies"].height == 1
    with pytest.raises(InputError, match="does not have this frequency"):
        examined(model, task, "progress", frequencies=[6])
