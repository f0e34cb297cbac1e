"""Ablation finds the planted parts that matter, and no others."""

import numpy as np
import pytest
import torch

import ablab
from ablab.model.bigram_config import BigramConfig
from ablab.model.build import build_model
from ablab.model.thinker_config import ThinkerConfig
from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.modular import Modular
from ablab.tasks.modular_config import ModularConfig
from ablab.tasks.probe import probe
from ablab.tasks.recall import Recall
from ablab.tasks.sequences import Copy
from ablab.tasks.sequences_config import CopyConfig
from tests.analysis.planted.digits import digit_adder
from tests.analysis.planted.idle_parts import idle_parts
from tests.analysis.planted.induction import induction_head
from tests.analysis.planted.modular import modular_adder, untrained_adder
from tests.analysis.planted.settings import SETTINGS, setting_id
from tests.analysis.planted.tasks import Previous
from tests.analysis.readers import row, rows, scalars

BOTH = pytest.mark.parametrize("skip_matters", [True, False])
EVERY = pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
SAMPLES = 400


def ablated(model, task, how="mean", samples=None, **settings):
    settings = {"how": how, **settings}
    return ablab.analyze(model, "ablation", task=task, samples=samples, settings=settings)


def of_idle(planted, how="mean", **settings):
    return ablated(planted.model, Previous(planted.task), how, SAMPLES, **settings)


@BOTH
@EVERY
def test_the_parts_that_matter_are_found(settings, skip_matters):
    planted = idle_parts(skip_matters, **settings)
    found = of_idle(planted, seed=3)
    lost = np.log(6) - planted.loss  # all logits are equal
    expected = {
        f"blocks.0.head.{planted.important_head}", "blocks.0.attention", "positions",
        "blocks.0.skip_mlp" if skip_matters else "blocks.0.mlp",
        *(f"blocks.0.edge.{t}-{t - 1}" for t in range(1, 8)),
    }  # fmt: skip
    if not skip_matters:  # one neuron copies each token
        expected |= {f"blocks.0.neuron.{neuron}" for neuron in range(6)}
    assert {each["part"] for each in rows(found, "parts", matters=True)} == expected
    important = row(found, "parts", kind="head", head=planted.important_head)
    assert important["change"] == pytest.approx(lost, abs=0.01)
    assert important["low"] < important["change"] < important["high"]
    for head in (planted.zero_head, planted.constant_head):
        idle = row(found, "parts", kind="head", head=head)
        assert abs(idle["change"]) < 1e-4 and idle["p_corrected"] > 0.05
    path, other = ("skip_mlp", "mlp") if skip_matters else ("mlp", "skip_mlp")
    assert row(found, "parts", kind=path)["change"] == pytest.approx(lost, abs=0.01)
    assert abs(row(found, "parts", kind=other)["change"]) < 1e-4
    assert abs(row(found, "parts", kind="skip_attention")["change"]) < 1e-4
    numbers = scalars(found)
    assert numbers["parts_that_matter"] == 11
    assert numbers["neurons_that_matter"] == (0 if skip_matters else 6)
    assert numbers["largest"] == pytest.approx(lost, abs=0.01)
    assert numbers["loss"] == pytest.approx(planted.loss, rel=1e-3)


@EVERY
def test_a_constant_matters_only_if_it_becomes_zero(settings):
    planted = idle_parts(True, **settings)
    found = of_idle(planted, "zero")
    task = Previous(planted.task)
    own = probe(task, samples=SAMPLES)
    is_zero = (own.targets[:, 1:] == 0).mean(-1) @ own.weights
    first, second = planted.loss_without_constant
    constant = row(found, "parts", kind="head", head=planted.constant_head)
    expected = is_zero * first + (1 - is_zero) * second - planted.loss
    assert constant["change"] == pytest.approx(expected, rel=2e-3)
    assert constant["matters"]
    important = row(found, "parts", kind="head", head=planted.important_head)
    assert important["change"] == pytest.approx(planted.loss_without - planted.loss, rel=1e-3)
    assert not row(found, "parts", kind="head", head=planted.zero_head)["matters"]
    for how in ("mean", "resample"):
        again = row(of_idle(planted, how), "parts", kind="head", head=planted.constant_head)
        assert abs(again["change"]) < 1e-4 and not again["matters"]


def test_with_other_targets_the_important_head_does_harm():
    """The control with shuffled labels: ablation takes away confident errors."""
    planted = idle_parts(True)

    class Shuffled(Previous):
        def answers(self, tokens):
            return super().answers(tokens)[..., ::-1, :]

    found = ablated(planted.model, Shuffled(planted.task), samples=SAMPLES)
    important = row(found, "parts", kind="head", head=planted.important_head)
    # A wrong target has the logit 0 beside 8; five of six targets are wrong.
    wrong = 8 + planted.loss
    expected = np.log(6) - (5 / 6 * wrong + planted.loss / 6)
    assert important["change"] == pytest.approx(expected, abs=0.15)
    assert scalars(found)["largest_head"] < -4


def test_nothing_matters_in_untrained_models():
    adder, sums = untrained_adder(29)
    planted = idle_parts(True)
    config, task = planted.model.config, planted.task
    copier = build_model(config, task.vocab_size, task.input_length, seed=0).eval()
    for found in (ablated(adder, Modular(sums)), ablated(copier, Previous(task), samples=SAMPLES)):
        numbers = scalars(found)
        assert numbers["parts_that_matter"] == numbers["neurons_that_matter"] == 0
        assert abs(numbers["largest"]) < 0.05  # beside more than 1.7 of the planted ones


@pytest.mark.parametrize("activation", ["relu", "square"])
def test_single_neurons_of_the_modular_adder(activation):
    planted = modular_adder(29, activation=activation, norm="rms", bias=True)
    found = ablated(planted.model, Modular(planted.task))
    for neuron in np.flatnonzero(planted.dead | planted.always_active):
        idle = row(found, "parts", kind="neuron", neuron=int(neuron))
        assert abs(idle["change"]) < 1e-5 and not idle["matters"]
    for neuron in np.flatnonzero(planted.trigonometric)[::7]:
        own = row(found, "parts", kind="neuron", neuron=int(neuron))
        assert own["change"] == pytest.approx(_without_neuron(planted, neuron), rel=5e-3, abs=1e-5)
    assert not row(found, "parts", kind="skip_mlp")["matters"]
    head = row(found, "parts", kind="head")
    assert head["change"] == pytest.approx(np.log(30), abs=0.7) and head["matters"]
    # The neurons of another sample with the same sum lead to the same answer.
    mlp = row(found, "parts", kind="mlp")
    assert mlp["change"] > 3 and abs(mlp["change_matched"]) < 1e-4
    assert scalars(found)["largest_positions"] is None  # it has no positional embeddings


def _without_neuron(planted, neuron):
    """The change of the loss with a neuron at its mean, from the formula of the logits."""
    p, k, phase = planted.task.p, planted.neuron_frequency[neuron], planted.neuron_phase[neuron]
    a, b, c = np.ogrid[:p, :p, :p]
    w = 2 * np.pi * k / p
    inputs = np.cos(w * a - phase) / 2 + np.cos(w * b - phase) / 2
    if planted.activation == "relu":
        hidden = 3 * np.pi / 9 * np.maximum(inputs, 0)
    else:
        hidden = 4 / 9 * inputs**2
    amplitude = planted.amplitudes[list(planted.key_frequencies).index(k)]
    logits = planted.logits()
    targets = ((a + b) % p)[..., 0]

    def loss(values):
        highest = values.max(-1, keepdims=True)
        total = np.log(np.exp(values - highest).sum(-1)) + highest[..., 0]
        return (total - np.take_along_axis(values, targets[..., None], -1)[..., 0]).mean()

    changed = logits.copy()
    changed[:, :, :p] += amplitude * (hidden.mean() - hidden) * np.cos(2 * phase - w * c[0])
    return loss(changed) - loss(logits)


def test_the_carry_matters_where_there_is_one():
    planted = digit_adder(1)
    found = ablated(planted.model, Addition(planted.task), "zero")
    carry = row(found, "parts", kind="neuron", neuron=planted.carry)
    assert carry["matters"]
    for neuron in planted.idle_neurons:
        assert not row(found, "parts", kind="neuron", neuron=neuron)["matters"]
    values = rows(found, "by_factor", kind="neuron", neuron=planted.carry, factor="carry_into_1")
    assert [each["share"] for each in values] == pytest.approx([0.55, 0.45])
    total = sum(each["share"] * each["change"] for each in values)
    assert total == pytest.approx(carry["change"])
    # With the neuron at 0 the answer is r ± 5: the target's logit is γ 5² = 200 below the highest
    # without a carry if a digit r + 5 exists, else less; by hand for the sums 0 and 18.
    assert all(each["change"] > 50 for each in values)
    assert "a_digit_0" in found.tables["by_factor"]["factor"].to_list()


def test_induction_needs_both_heads():
    planted = induction_head(norm="layer", bias=True, mlp=True)
    found = ablated(planted.model, Recall(planted.task), samples=200, neurons=0)
    heads = {
        (each["block"], each["head"]) for each in rows(found, "parts", kind="head", matters=True)
    }
    assert heads == {planted.previous_token_head, planted.induction_head}
    assert [each["matters"] for each in rows(found, "parts", kind="mlp")] == [False, False]
    # What the first head writes reaches the second one past the MLP of block 0.
    assert [each["matters"] for each in rows(found, "parts", kind="skip_mlp")] == [True, True]
    assert "neuron" in found.tables["parts"]["kind"].to_list()  # of the last MLP alone
    assert {each["block"] for each in rows(found, "parts", kind="neuron")} == {1}


def test_samples_count_with_their_weights():
    task = Addition(AdditionConfig(n_digits=3, held_out=0.3))
    model = build_model(
        TransformerConfig(d_model=8, n_heads=2), 12, task.config.input_length, seed=0
    ).eval()
    own = probe(task, samples=300)
    assert own.weights.std() > 0
    found = ablated(model, task, samples=300, neuron_samples=1000)
    weights = torch.from_numpy(own.weights)

    def mean(x):
        return torch.einsum("n,n...->...", weights.to(x), x).expand_as(x)

    with torch.no_grad():
        tokens = torch.from_numpy(own.tokens)
        changed = ablab.replace(model, tokens, {"blocks.0.mlp_out": mean})
        plain = model(tokens)
    targets = torch.from_numpy(own.targets[:, -1])
    losses = [
        torch.nn.functional.cross_entropy(each[:, -1].double(), targets, reduction="none").numpy()
        for each in (changed, plain)
    ]
    difference = losses[0] - losses[1]
    mlp = row(found, "parts", kind="mlp")
    assert mlp["change"] == pytest.approx(difference @ own.weights, rel=1e-4, abs=1e-7)
    for name, part in (("change_train", own.train), ("change_held_out", ~own.train)):
        weights = own.weights * part
        assert mlp[name] == pytest.approx(difference @ weights / weights.sum(), rel=1e-4, abs=1e-7)
    assert scalars(found)["loss"] == pytest.approx(losses[1] @ own.weights, rel=1e-6)


def test_a_thinker_has_parts_with_names_of_its_own():
    task = Copy(CopyConfig(length=4, n_symbols=5))
    config = ThinkerConfig(d_model=8, n_heads=2, n_latents=3, n_thoughts=2)
    own = task.config
    model = build_model(
        config, own.vocab_size, own.input_length, seed=0, source_length=own.source_length
    ).eval()
    found = ablated(model, task, samples=50)
    names = set(found.tables["parts"]["part"])
    assert {"read.head.0", "thoughts.1.mlp", "write.skip_attention"} <= names
    assert found.tables["parts"]["block"].null_count() == found.tables["parts"].height


def test_models_without_such_parts():
    task = Modular(ModularConfig(p=5))
    bigram = build_model(BigramConfig(), task.config.vocab_size, 3, seed=0)
    found = ablab.analyze(bigram, "ablation", task=task)
    assert found.scalars.height == 0
    assert "no attention, MLP or positional embedding" in found.notes[0]
    found = ablab.analyze(torch.nn.Linear(2, 2), "ablation", task=task)
    assert "not one of ablab's" in found.notes[0]


def test_weights_that_are_not_finite_give_no_numbers():
    model, task = untrained_adder(29)
    with torch.no_grad():
        model.blocks[0].mlp.linear.weight[0, 0] = torch.nan
    found = ablated(model, Modular(task))
    assert scalars(found)["largest"] is None
    assert not found.tables["parts"]["matters"].any()


@pytest.mark.parametrize("name", ["ablation", "neurons", "progress"])
def test_a_norm_whose_scale_has_a_parameter(name):
    task = ModularConfig(p=11, train_fraction=0.5)
    plain, learned = (
        build_model(
            TransformerConfig(d_model=8, n_heads=2, d_mlp=6, init_std=0.4, norm=norm),
            task.vocab_size,
            task.input_length,
            seed=0,
        ).eval()
        for norm in ("rms", "tests.analysis.my_norms:LearnedEpsilon")
    )
    missing, _ = learned.load_state_dict(plain.state_dict(), strict=False)
    assert missing and all(each.endswith("log_epsilon") for each in missing)
    settings = {"frequencies": [2, 5]} if name == "progress" else {}
    expected, found = (
        scalars(ablab.analyze(model, name, task=Modular(task), settings=settings))
        for model in (plain, learned)
    )
    assert expected.keys() == found.keys() and len(found) > 4
    for key in expected.keys() - {"sum_of_squared_weights"}:  # one has a parameter more
        value = expected[key]
        assert found[key] == (value and pytest.approx(value, rel=1e-4, abs=1e-6)), key
