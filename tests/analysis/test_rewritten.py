"""Models rewritten in effective matrices, against the models themselves and changed ones."""

import numpy as np
import pytest
import torch

from ablab.analysis.methods.rewritten import Rewritten, observe
from ablab.analysis.methods.unit_outputs import blocks
from ablab.analysis.subject import DoesNotApplyError, Subject
from ablab.model.build import build_model
from ablab.model.interventions import replace, watch
from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig

TASK = AdditionConfig(n_digits=2)
AT = 5
CONFIGS = {
    "plain": {"norm": "none", "bias": False},
    "layer norm": {},
    "rms": {"norm": "rms"},
    "frobenius": {"norm": "frobenius"},
    "gated": {"mlp": {"activation": "silu", "gated": True}},
    "no mlp": {"mlp": None},
    "no attention": {"attention": None},
    "sigmoid": {"attention": {"activation": "sigmoid"}, "position": "sinusoidal"},
    "softmax1": {"attention": {"activation": "softmax1"}},
    "shared keys": {"attention": {"n_kv_heads": 2}},
    "window": {"attention": {"window": 3}},
    "alibi": {"position": "alibi", "attention": {"temperature": 3.0, "temperature_of": "scores"}},
    "learned temperature": {
        "attention": {"learned_temperature": True, "temperature": 0.4, "learned_logit_bias": True,
                      "activation": "tanh", "logit_bias": 0.3},
    },
    "layer scale": {"layer_scale": 0.5, "tied_embeddings": True},
    "no projections": {"attention": {"output_projection": False},
                       "mlp": {"output_projection": False}},
}  # fmt: skip


def made(**settings):
    """A model with large random parameters."""
    config = TransformerConfig(**{"d_model": 12, "n_heads": 4, "norm": "layer"} | settings)
    model = build_model(config, TASK.vocab_size, TASK.input_length, seed=0).eval()
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for each in model.parameters():
            each.add_(0.4 * torch.randn(each.shape, generator=rng))
    return model.double()


def samples():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 10, size=(40, 6))
    tokens[:, 2] = 10
    return tokens  # the last position varies, unlike in the task


def rewritten(model, without=(), at=AT):
    tokens = samples()
    subject = Subject(model, Addition(TASK))
    weights = np.full(len(tokens), 1 / len(tokens))
    return Rewritten(model, at).logits(tokens, observe(subject, tokens, at)[1], weights, without)


def logits_of(model, tokens=None):
    with torch.no_grad():
        return model(torch.from_numpy(samples() if tokens is None else tokens)).numpy()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("at", [AT, 3, 0])
def test_all_paths_together_are_the_model(name, at):
    model = made(**CONFIGS[name])
    np.testing.assert_allclose(rewritten(model, at=at), logits_of(model)[:, at], atol=1e-9)


@pytest.mark.parametrize("name", ["plain", "layer norm", "gated"])
def test_without_the_path_around_the_mlp(name):
    model = made(**CONFIGS[name])
    _, seen = watch(model, torch.from_numpy(samples()), ["*.resid_mid", "*.mlp_out", "ln_final"])
    middle, out = (seen[f"blocks.0.{site}"][:, AT].detach() for site in ("resid_mid", "mlp_out"))
    bias = blocks(model)[0].mlp.projection.bias
    bias = 0 if bias is None else bias.detach()
    total = middle + out
    gain, shift, scale = 1.0, 0.0, torch.ones(len(total), 1)
    if name != "plain":
        gain, shift = model.norm.weight.detach(), model.norm.bias.detach()
        scale = model.norm.scale(total)
    centre = (lambda x: x) if name == "plain" else (lambda x: x - x.mean(-1, keepdim=True))
    skip = centre(middle + bias) / scale
    final = (skip.mean(0) + centre(out - bias) / scale) * gain + shift
    expected = model.unembedding(final).detach().numpy()
    np.testing.assert_allclose(rewritten(model, ["mlp_skip"]), expected, atol=1e-9)


def test_without_the_path_around_attention():
    model = made(norm="none", bias=False)
    tokens = torch.from_numpy(samples())
    _, seen = watch(model, tokens, ["blocks.0.resid_pre", "blocks.0.attn_out"])
    own, added = (seen[f"blocks.0.{site}"][:, AT].detach() for site in ("resid_pre", "attn_out"))
    from_neurons = blocks(model)[0].mlp.projection(
        blocks(model)[0].mlp.activation(blocks(model)[0].mlp.linear(own.mean(0) + added))
    )
    expected = model.unembedding(own + added + from_neurons).detach().numpy()
    np.testing.assert_allclose(rewritten(model, ["attention_skip"]), expected, atol=1e-9)


@pytest.mark.parametrize("name", ["plain", "sigmoid"])
def test_without_attention_to_itself(name):
    model = made(**CONFIGS[name])

    def hide(pattern):
        pattern = pattern.clone()
        pattern[:, :, AT, AT] = 0
        if name == "plain":
            pattern[:, :, AT] /= pattern[:, :, AT].sum(-1, keepdim=True)
        return pattern

    tokens = torch.from_numpy(samples())
    changed = {"blocks.0.attn.pattern": hide}
    if name == "sigmoid":  # the norm's scale stays that of the model
        _, seen = watch(model, tokens, ["blocks.0.ln2.scale", "ln_final.scale"])
        changed |= {site: (lambda _, own=own: own) for site, own in seen.items()}
    with torch.no_grad():
        expected = replace(model, tokens, changed)[:, AT].numpy()
    np.testing.assert_allclose(rewritten(model, ["self_attention"]), expected, atol=1e-9)


def test_without_positions():
    model, same = made(norm="none"), made(norm="none")
    table = same.positional_embedding.weight
    with torch.no_grad():
        table[:] = table[: AT + 1].mean(0)
    tokens = torch.from_numpy(samples())
    _, seen = watch(same, tokens, ["blocks.0.attn.k", "blocks.0.attn.v"])
    changed = {site: (lambda _, own=own: own) for site, own in seen.items()}
    with torch.no_grad():
        expected = replace(model, tokens, changed)[:, AT].numpy()
    np.testing.assert_allclose(rewritten(model, ["positions"]), expected, atol=1e-9)


def test_means_have_weights():
    model, tokens = made(norm="none"), samples()
    _, ones = observe(Subject(model, Addition(TASK)), tokens, AT)
    weights = np.arange(1.0, 41) / 820
    found = Rewritten(model, AT).logits(tokens, ones, weights, ["mlp_skip", "attention_skip"])
    repeated = np.repeat(tokens, np.arange(1, 41), axis=0)
    _, ones = observe(Subject(model, Addition(TASK)), repeated, AT)
    same = Rewritten(model, AT).logits(
        repeated, ones, np.full(820, 1 / 820), ["mlp_skip", "attention_skip"]
    )
    np.testing.assert_allclose(found, same[np.cumsum(np.arange(40))], atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"n_layers": 2}, "several blocks"),
        ({"position": "rope"}, "not products of queries and keys"),
        ({"attention": {"qk_norm": "rms"}}, "not products of queries and keys"),
        ({"attention": {"qk_activation": "relu"}}, "not products of queries and keys"),
        ({"norm_place": "post"}, "after the residual connection"),
        ({"attention": {"post_norm": "rms"}}, "inside the part"),
        ({"mlp": {"norm": "layer"}}, "inside the part"),
        ({"residual": False}, "no residual connection"),
    ],
)
def test_models_that_matrices_do_not_describe(settings, reason):
    with pytest.raises(DoesNotApplyError, match=reason):
        Rewritten(made(**{"n_heads": 2} | settings), AT)
