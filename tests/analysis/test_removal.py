"""Removed parts, compared with replacements at sites by hand, in many kinds of models."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import ablab
from ablab.analysis.methods.last_mlp import linear_mlp
from ablab.analysis.methods.neuron_ablation import losses_without_neurons
from ablab.analysis.methods.pairing import partners
from ablab.analysis.methods.removable_parts import Part, block_parts, edge_parts
from ablab.analysis.methods.removal import Removal
from ablab.analysis.methods.samples import samples_of
from ablab.model.build import build_model
from ablab.model.interventions import sites
from ablab.model.thinker_config import ThinkerConfig
from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.config import IGNORED
from ablab.tasks.probe import probe

TASK = Addition(AdditionConfig(n_digits=2, target="all"))  # the last 3 of 8 are predicted
LENGTH = 8
KINDS = {
    "pre": {},
    "two blocks": {"n_layers": 2, "norm": "rms", "bias": False, "layer_scale": 0.5},
    "post": {"n_layers": 2, "norm_place": "post"},
    "post, own norm": {"norm_place": "post", "output_norm": {"kind": "rms"}},
    "no norm": {"norm": "none"},
    "gated": {"mlp": {"gated": True, "activation": "silu"}, "layer_scale": 0.3},
    "no projection": {"mlp": {"output_projection": False}, "d_mlp": 16},
    "shared keys": {"attention": {"n_kv_heads": 2, "window": 3}, "position": "rope"},
    "sigmoid": {"attention": {"activation": "sigmoid"}, "n_layers": 2},
    "no attention": {"attention": None},
}
EVERY = pytest.mark.parametrize("kind", KINDS)


def make(kind):
    config = TransformerConfig(**{"d_model": 16, "n_heads": 4, "d_mlp": 20} | KINDS[kind])
    model = build_model(config, 12, LENGTH, seed=1).eval()
    with torch.no_grad():  # larger than initial weights, so that every part matters
        for parameter in model.parameters():
            parameter.mul_(3.0).add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def samples():
    return samples_of(probe(TASK, samples=60), 60, 0)


def losses_by_hand(model, samples, replacements):
    with torch.no_grad():
        logits = ablab.replace(model, samples.tokens, replacements)[:, samples.first :]
    flat = F.cross_entropy(
        logits.double().flatten(0, 1), samples.targets.flatten(), reduction="none"
    )
    return flat.view(samples.targets.shape).mean(-1).numpy()


def mean(x):
    return x.mean(0, keepdim=True).expand_as(x)


def put(index, new):
    def at(x):
        x = x.clone()
        x[index] = new(x)[index]
        return x

    return at


def near(found, expected):
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


@EVERY
@pytest.mark.parametrize("how", ["zero", "mean"])
def test_heads_and_branches(kind, how, samples):
    model = make(kind)
    removal = Removal(model, _even(samples), how, 0)
    new = torch.zeros_like if how == "zero" else mean
    near(removal.losses, losses_by_hand(model, samples, {}))
    last = len(model.blocks) - 1
    for number in range(len(model.blocks)):
        prefix = f"blocks.{number}"
        expected = losses_by_hand(model, samples, {f"{prefix}.mlp_out": new})
        near(removal.losses_without(Part("mlp", prefix)), expected)
        if kind == "no attention":
            continue
        for head in (0, 3):
            index = (slice(None), slice(None), head)
            expected = losses_by_hand(model, samples, {f"{prefix}.attn.z": put(index, new)})
            near(removal.losses_without(Part("head", prefix, head=head)), expected)
            if number == last:
                assert np.abs(expected - removal.losses).max() > 1e-3
        expected = losses_by_hand(model, samples, {f"{prefix}.attn_out": new})
        near(removal.losses_without(Part("attention", prefix)), expected)


def _even(samples):
    """The same samples with equal weights, as means by hand have."""
    count = len(samples.weights)
    return samples.__class__(**{**vars(samples), "weights": np.full(count, 1 / count)})


@EVERY
def test_edges_at_zero_are_entries_of_the_pattern_at_zero(kind, samples):
    model = make(kind)
    removal = Removal(model, samples, "zero", 0)
    edges = edge_parts(model, samples.positions)
    assert bool(edges) == (kind != "no attention")
    for edge in edges[::5]:
        index = (slice(None), slice(None), edge.destination, edge.source)
        site = f"{edge.prefix}.attn.pattern"
        expected = losses_by_hand(model, samples, {site: put(index, torch.zeros_like)})
        near(removal.losses_without(edge), expected)
    if kind == "shared keys":  # three visible keys
        assert {e.source for e in edges if e.destination == 6} == {4, 5, 6}


@pytest.mark.parametrize("kind", ["pre", "two blocks", "no norm"])
def test_skip_paths(kind, samples):
    """Only the sum loses the residual stream; attention and MLP still read it."""
    model = make(kind)
    removal = Removal(model, _even(samples), "mean", 0)
    for number in range(len(model.blocks)):
        prefix = f"blocks.{number}"
        names = ["resid_pre", "attn_out", "resid_mid", "mlp_out"]
        with torch.no_grad():
            _, seen = ablab.watch(model, samples.tokens, [f"{prefix}.{name}" for name in names])
        pre, attended, mid, out = (seen[f"{prefix}.{name}"] for name in names)
        for kind_of_path, site, value in (
            ("skip_attention", "resid_mid", mean(pre) + attended),
            ("skip_mlp", "resid_post", mean(mid) + out),
        ):
            taken = {f"{prefix}.{site}": lambda _, value=value: value}
            near(
                removal.losses_without(Part(kind_of_path, prefix)),
                losses_by_hand(model, samples, taken),
            )


@EVERY
@pytest.mark.parametrize("how", ["zero", "mean", "resample"])
def test_neurons_of_the_last_mlp_in_one_pass(kind, how, samples):
    model = make(kind)
    removal = Removal(model, samples, how, 0)
    last = linear_mlp(model)
    neurons = np.array([0, 7, 15])
    found = losses_without_neurons(last, removal, samples, neurons)
    for column, neuron in enumerate(neurons):
        part = Part("neuron", last.prefix, neuron=int(neuron))
        near(found[:, column], removal.losses_without(part))
        assert np.abs(found[:, column] - removal.losses).max() > 1e-4


def test_a_normalized_hidden_layer_has_no_shortcut():
    assert linear_mlp(build_model(TransformerConfig(mlp={"norm": "layer"}), 12, LENGTH, 0)) is None
    assert linear_mlp(build_model(TransformerConfig(mlp=None), 12, LENGTH, 0)) is None
    before = TransformerConfig(mlp={"norm": "layer", "norm_place": "before"})
    assert linear_mlp(build_model(before, 12, LENGTH, 0)) is not None


def test_positions(samples):
    model = make("pre")
    for how, new in (
        ("zero", torch.zeros_like),
        ("mean", lambda x: x.mean(1, keepdim=True).expand_as(x)),
        ("resample", lambda x: x[:, [7, 0, 1, 2, 3, 4, 5, 6]]),
    ):
        found = Removal(model, samples, how, 0).losses_without(Part("positions"))
        near(found, losses_by_hand(model, samples, {"pos_embed": new}))


def test_values_of_partners(samples):
    model = make("two blocks")
    removal = Removal(model, samples, "mean", 0)
    assert 0 < removal.has_partner.sum() < len(removal.has_partner)
    found = removal.losses_with_partners(Part("mlp", "blocks.1"))
    alone = ~removal.has_partner
    np.testing.assert_allclose(found[alone], removal.losses[alone], rtol=1e-6)
    assert np.abs(found - removal.losses)[~alone].max() > 1e-4


def test_partners_are_others_of_the_same_class():
    classes = np.array([0, 1, 0, 2, 1, 0, 0])
    found = partners(classes, np.ones(len(classes)), np.random.default_rng(0))
    assert found[3] == -1
    own = np.array([0, 1, 2, 4, 5, 6])
    assert (classes[found[own]] == classes[own]).all() and (found[own] != own).all()
    assert sorted(found[own]) == own.tolist()


def test_parts_of_a_thinker():
    config = ThinkerConfig(d_model=8, n_heads=2, n_latents=3, n_thoughts=2)
    model = build_model(config, 12, LENGTH, seed=0, source_length=6).eval()
    own = samples_of(probe(TASK, samples=20), 20, 0)
    names = sites(model, own.tokens)
    parts = block_parts(model, names, {"read": 2, "thoughts.0": 2, "thoughts.1": 2, "write": 2})
    assert {part.name for part in parts} >= {"read.head.1", "thoughts.1.mlp", "write.skip_mlp"}
    assert all(part.block is None for part in parts)
    assert edge_parts(model, own.positions) == []
    removal = Removal(model, own, "zero", 0)
    with torch.no_grad():
        logits = ablab.replace(model, own.tokens, {"thoughts.1.attn_out": torch.zeros_like})
    expected = own.losses(logits[:, own.first :]).numpy()
    near(removal.losses_without(Part("attention", "thoughts.1")), expected)


def test_losses_are_means_over_targets():
    own = samples_of(probe(TASK, samples=20), 20, 0)
    assert own.positions == [5, 6, 7] and own.first == 5
    targets = own.targets.clone()
    targets[:, 1] = IGNORED
    changed = own.__class__(**{**vars(own), "targets": targets})
    logits = torch.randn(20, 3, 12, generator=torch.Generator().manual_seed(0))
    flat = F.cross_entropy(logits.transpose(1, 2).double(), targets, reduction="none")
    expected = flat[:, [0, 2]].mean(-1)
    torch.testing.assert_close(changed.losses(logits), expected, check_dtype=False)
