"""Modules of a user's own: configured, drawn, stacked, watched."""

import copy

import numpy as np
import pytest
import torch

from ablab.config import InputError
from ablab.experiments import experiment
from ablab.model.forward import Forward, Noise, NoiseCounter
from ablab.model.interventions import replace, sites, watch
from ablab.train.method import SOLO, STACK, Method
from ablab.train.stack import Stack

CPU = torch.device("cpu")
TOKENS = torch.randint(0, 12, (2, 6), generator=torch.Generator().manual_seed(0))


def asked(name, **settings):
    return experiment(
        {
            "name": "own",
            "task": {"kind": "addition", "n_digits": 2},
            "model": {"kind": f"tests.model.my_modules:{name}"} | settings,
            "train": {"batch_size": 8, "steps": 20},
            "seeds": 3,
        }
    )


def test_run_k_of_a_stack_equals_run_k_alone_with_dropout_of_its_own():
    runs = asked("Encoder", p=0.3).runs
    with pytest.warns(UserWarning, match="performance drop"):  # torch's own, of its fused kernel
        found = Stack(runs, None, CPU, STACK).advance(20).losses
    for index, run in enumerate(runs):
        alone = Stack([run], None, CPU, SOLO)
        np.testing.assert_allclose(found[:, index], alone.advance(20).losses[:, 0], rtol=1e-4)
    dry = Stack([asked("Encoder").runs[0]], None, CPU, SOLO).advance(20).losses
    assert abs(found[:, 0] - dry[:, 0]).max() > 1e-3, "dropout does something"


@pytest.mark.parametrize(
    "method",
    [
        Method("stack", True, rows=1),
        Method("stack", True, "innermost", "plain", rows=2, samples=4),
    ],
    ids=lambda method: method.title,
)
def test_compiled_it_trains_as_it_does_eagerly(method):
    runs = asked("Averages", p=0.3).runs
    found = Stack(runs, None, CPU, method).advance(20).losses
    for index, run in enumerate(runs):
        alone = Stack([run], None, CPU, SOLO).advance(20).losses
        np.testing.assert_allclose(found[:, index], alone[:, 0], rtol=1e-4)
    assert (found[-1] < found[0]).all()


def test_parameters_come_from_the_seed_alone():
    variant = asked("Encoder").variants[0]
    torch.manual_seed(5)
    one = variant.model(1)
    torch.manual_seed(6)
    other, third = variant.model(1), variant.model(2)
    assert torch.equal(one.module.places, other.module.places)
    assert not torch.equal(one.module.places, third.module.places)


def test_outputs_of_submodules_are_sites():
    model = asked("Encoder").variants[0].model(0)
    names = sites(model, TOKENS)
    assert names[0] == "embedding"
    assert names[-2:] == ["out", "logits"]
    logits, seen = watch(model, TOKENS, ["layer.norm1", "layer"])
    assert seen["layer"].shape == (2, 6, 8)
    changed = replace(model, TOKENS, {"layer": lambda x: x * 0})
    assert not torch.allclose(changed, logits)


def test_a_copy_has_a_pass_of_its_own():
    model = asked("Encoder", p=0.5).variants[0].model(0)
    words = torch.zeros(2, 100, dtype=torch.int16) - 32768  # every entry is dropped
    copied = copy.deepcopy(model)
    counter = NoiseCounter()
    copied(TOKENS[:1], Forward(noise=counter))
    logits = copied(TOKENS, Forward(noise=Noise(words, counter.sizes)))
    torch.testing.assert_close(logits, model.module.out.bias.expand_as(logits))


def test_its_arguments_are_settings():
    assert asked("Encoder", width=4).variants[0].model(0).module.places.shape == (6, 4)
    ids = {asked("Encoder", width=width).runs[0].id for width in (4, 8)}
    assert len(ids) == 2
    with pytest.raises(InputError, match=r"model.widht is not a setting(.|\n)*model.width"):
        asked("Encoder", widht=4)
    with pytest.raises(InputError, match=r"argument \*sizes: int of Anything cannot be a setting"):
        asked("Anything")
    with pytest.raises(InputError, match=r"activation=.*cannot be a setting"):
        asked("OddDefault")
    with pytest.raises(InputError, match="an argument kind"):
        asked("OddName")


def test_what_it_cannot_hold_is_said():
    with pytest.raises(ValueError, match="attention draws dropout inside torch"):
        asked("HiddenDropout").variants[0].model(0)
    with pytest.raises(ValueError, match="norm computes statistics over the batch"):
        asked("BatchNormed").variants[0].model(0)
    model = asked("Flat").variants[0].model(0)
    with pytest.raises(ValueError, match=r"Flat returned \(12, 12\)"):
        model(TOKENS)


def test_a_function_of_the_scores_is_an_attention_activation():
    base = {"name": "x", "task": {"kind": "addition"}, "model": {"d_model": 8, "n_heads": 2}}
    own = experiment(base, "model.attention.activation=tests.model.my_modules:scaled")
    plain = experiment(base, "model.attention.activation=none", "model.attention.temperature=2")
    tokens = TOKENS[:, :4]
    expected = plain.variants[0].model(0)(tokens)
    torch.testing.assert_close(own.variants[0].model(0)(tokens), expected)
    identity = own.variants[0].parts.model.identity()
    assert len(identity["attention"]["activation_source"]) == 64


def test_one_dropout_in_two_places_is_drawn_from_the_run():
    (run, *_) = asked("SharedDropout").runs
    losses = [Stack([run], None, CPU, SOLO).advance(5).losses for _ in range(2)]
    np.testing.assert_array_equal(*losses)
    model = asked("SharedDropout").variants[0].model(0).eval()
    assert sites(model, TOKENS).count("logits") == 1


def test_a_component_by_import_path_keeps_the_values_that_it_drew():
    base = {"name": "x", "task": {"kind": "addition"}, "model": {"d_model": 8, "n_heads": 2}}
    own = experiment(base, "model.mlp.activation=torch.nn:PReLU").variants[0].model(0)
    assert own.blocks[0].mlp.activation.weight.item() == 0.25
    assert (own.blocks[0].norm1.weight == 1).all()


def test_a_position_that_learns_is_stacked():
    base = {
        "name": "x",
        "task": {"kind": "addition", "n_digits": 2},
        "model": {"d_model": 8, "n_heads": 2, "position": "tests.model.my_modules:LearnedBias"},
        "train": {"batch_size": 8, "steps": 20},
        "seeds": 2,
    }
    runs = experiment(base).runs
    found = Stack(runs, None, CPU, STACK).advance(20).losses
    for index, run in enumerate(runs):
        alone = Stack([run], None, CPU, SOLO).advance(20).losses
        np.testing.assert_allclose(found[:, index], alone[:, 0], rtol=1e-4)
    model = experiment(base).variants[0].model(0)
    plain, seen = watch(model, TOKENS, ["*.pattern"])
    torch.testing.assert_close(plain, model(TOKENS))
    assert not torch.allclose(
        seen["blocks.0.attn.pattern"][:, 0], seen["blocks.0.attn.pattern"][:, 1]
    )


def test_a_class_made_from_softmax_is_not_taken_for_it():
    base = {"name": "x", "task": {"kind": "addition"}, "model": {"d_model": 8, "n_heads": 2}}
    half = experiment(base, "model.attention.activation=tests.model.my_modules:HalfSoftmax")
    model = half.variants[0].model(0)
    plain, seen = watch(model, TOKENS, ["*.pattern"])
    assert torch.equal(plain, model(TOKENS))
    sums = seen["blocks.0.attn.pattern"].sum(-1)
    torch.testing.assert_close(sums, torch.full_like(sums, 0.5))
