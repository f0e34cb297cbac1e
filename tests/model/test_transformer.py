"""The transformer against the formulas, worked in float64 NumPy without any of its code."""

import math

import numpy as np
import pytest
import torch

from ablab.model.build import build_model
from ablab.model.transformer_config import TransformerConfig
from ablab.model.watch import watch

V, T = 11, 6


def layer_norm(x, weight, bias):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight + bias


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def reference(parameters, tokens, config):
    """The logits of one sequence; parameters by name, float64."""
    p = {name: value.detach().double().numpy() for name, value in parameters.items()}
    heads, width = config.n_heads, config.d_head

    def linear(x, name):
        result = x @ p[f"{name}.weight"].T
        return result + p[f"{name}.bias"] if f"{name}.bias" in p else result

    def norm(x, name):
        if config.norm == "none":
            return x
        return layer_norm(x, p[f"{name}.weight"], p.get(f"{name}.bias", 0.0))

    x = p["embedding.weight"][tokens]
    if config.position == "learned":
        x = x + p["positional_embedding.weight"][: len(tokens)]
    for number in range(config.n_layers):
        block = f"blocks.{number}"
        if config.attention is not None:
            y = norm(x, f"{block}.norm1")
            q, k, v = (linear(y, f"{block}.attention.{part}") for part in ("query", "key", "value"))
            z = np.zeros_like(q)
            for head in range(heads):
                part = slice(head * width, (head + 1) * width)
                for t in range(len(tokens)):
                    scores = [q[t, part] @ k[s, part] / math.sqrt(width) for s in range(t + 1)]
                    weights = np.exp(scores - np.max(scores))
                    weights /= weights.sum()
                    z[t, part] = sum(w * v[s, part] for s, w in enumerate(weights))
            out = (
                linear(z, f"{block}.attention.projection")
                if config.attention.output_projection
                else z
            )
            x = x + out if config.residual else out
        if config.mlp is not None:
            out = gelu(linear(norm(x, f"{block}.norm2"), f"{block}.mlp.linear"))
            if config.mlp.output_projection:
                out = linear(out, f"{block}.mlp.projection")
            x = x + out if config.residual else out
    p.setdefault("unembedding.weight", p["embedding.weight"])
    return linear(norm(x, "norm"), "unembedding")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_layers": 2, "n_heads": 1, "d_mlp": 12},
        {"bias": False, "tied_embeddings": True},
        {"tied_embeddings": True},
        {"d_head": 3},
        {"position": "none", "norm": "none"},
        {"residual": False, "n_layers": 2},
        {"mlp": None, "attention": {"bias": False, "output_projection": False}},
        {"attention": None},
        {"mlp": {"output_projection": False}, "attention": {"bias": False}},
    ],
    ids=str,
)
def test_the_logits_are_the_formulas(settings):
    config = TransformerConfig(d_model=8, **({"n_heads": 2} | settings))
    model = build_model(config, V, T, seed=1).double()
    with torch.no_grad():  # biases and norms away from their neutral values
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    tokens = torch.tensor([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]])
    logits = model(tokens)
    for row in range(2):
        expected = reference(dict(model.named_parameters()), tokens[row].numpy(), config)
        np.testing.assert_allclose(logits[row].detach().numpy(), expected, rtol=1e-9, atol=1e-9)


def test_the_fused_and_the_plain_path_of_attention_agree():
    model = build_model(TransformerConfig(d_model=8, n_heads=2), V, T, seed=0)
    tokens = torch.tensor([[3, 1, 4, 1, 5, 9]])
    fused = model(tokens)
    plain, seen = watch(model, tokens, ["*.pattern"])
    torch.testing.assert_close(plain, fused, rtol=1e-5, atol=1e-6)
    pattern = seen["blocks.0.attn.pattern"]
    torch.testing.assert_close(pattern.sum(-1), torch.ones(1, 2, T))
    assert (pattern.triu(1) == 0).all()


def test_no_position_sees_what_follows_it():
    model = build_model(TransformerConfig(d_model=8, n_heads=2, n_layers=2), V, T, seed=0)
    one = model(torch.tensor([[3, 1, 4, 1, 5, 9]]))
    other = model(torch.tensor([[3, 1, 4, 1, 0, 0]]))
    torch.testing.assert_close(one[:, :4], other[:, :4])
    assert not torch.allclose(one[:, 4:], other[:, 4:])


def test_a_shorter_input_will_do_and_a_longer_one_is_an_error():
    model = build_model(TransformerConfig(d_model=8), V, T, seed=0)
    assert model(torch.zeros(1, 3, dtype=torch.long)).shape == (1, 3, V)
    with pytest.raises(ValueError, match="reads at most 6"):
        model(torch.zeros(1, 7, dtype=torch.long))


def test_dropout_follows_the_modules_mode_outside_of_training_by_ablab():
    model = build_model(TransformerConfig(d_model=8, dropout=0.5), V, T, seed=0)
    tokens = torch.zeros(4, T, dtype=torch.long)
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))


def test_a_printed_model_is_torchs_own_tree():
    text = str(build_model(TransformerConfig(d_model=8, n_layers=2, bias=False), V, T, seed=0))
    assert text.startswith("Transformer(\n  (embedding): Embedding(11, 8)\n")
    assert "(query): Linear(in_features=8, out_features=8, bias=False)" in text
    assert "Forward" not in text
