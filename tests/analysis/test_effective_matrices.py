"""Effective matrices against their definitions."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ablab.analysis.methods.effective_matrices import EffectiveMatrix, Query, effective_matrices
from ablab.analysis.methods.folded_weights import fold
from ablab.model.build import build_model
from ablab.model.transformer_config import TransformerConfig

TOKENS, ANSWERS, LENGTH = [0, 1, 2, 3, 4], [1, 2, 5], 4


def made(**settings):
    config = TransformerConfig(**{"d_model": 12, "n_heads": 4, "norm": "layer"} | settings)
    model = build_model(config, 7, LENGTH, seed=0).eval()
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for each in model.parameters():
            each.add_(0.4 * torch.randn(each.shape, generator=rng))
    return model.double()


def found_in(model, sums_to_one=True, query=None):
    """The matrices by name, block and head."""
    every = effective_matrices(
        fold(model, LENGTH),
        TOKENS,
        ANSWERS,
        [sums_to_one] * len(model.blocks),
        query,
        range(LENGTH),
    )
    return {(each.name, each.block, each.head): each.values for each in every}


def centred(values, axis):
    return values - values.mean(axis, keepdims=True)


def test_the_matrices_of_a_model_without_norms():
    model = made(norm="none", n_layers=2)
    with torch.no_grad():
        embedding = model.embedding.weight[TOKENS].numpy()
        unembedding = model.unembedding.weight[ANSWERS].T.numpy()
        found = found_in(model, sums_to_one=False)
        for number, block in enumerate(model.blocks):
            attention, mlp = block.attention, block.mlp
            for head in range(4):
                rows = slice(3 * head, 3 * head + 3)
                q, k, v = (
                    layer.weight[rows].numpy()
                    for layer in (attention.query, attention.key, attention.value)
                )
                out = attention.projection.weight[:, rows].numpy()
                scores = embedding @ q.T @ k @ embedding.T / np.sqrt(3)
                np.testing.assert_allclose(found["qk", number, head], scores)
                ov = embedding @ v.T @ out.T
                into = ov @ mlp.linear.weight.numpy().T
                np.testing.assert_allclose(found["ov_neurons", number, head], into)
                direct = centred(ov @ unembedding, 1)
                np.testing.assert_allclose(found["ov_logits", number, head], direct, atol=1e-12)
            logits = mlp.projection.weight.numpy().T @ unembedding
            np.testing.assert_allclose(found["neuron_logits", number, None], centred(logits, 1))
            into = centred(embedding, 0) @ mlp.linear.weight.numpy().T
            np.testing.assert_allclose(found["embedding_neurons", number, None], into)
        direct = centred(centred(embedding, 0) @ unembedding, 1)
        np.testing.assert_allclose(found["embedding_logits", None, None], direct, atol=1e-12)


@pytest.mark.parametrize("norm", ["layer", "rms", "frobenius"])
def test_norms_are_folded_in(norm):
    model = made(norm=norm)
    with torch.no_grad():
        embedding = model.embedding.weight
        mean, gain, shift = 0, torch.ones(12), torch.zeros(12)
        if norm == "layer":
            mean, shift = embedding.mean(-1, keepdim=True), model.norm.bias
        if norm != "frobenius":
            gain = model.norm.weight
        # The normalized embedding times its scale, without the bias.
        scaled = (model.norm(embedding) - shift) * model.norm.scale(embedding)
        torch.testing.assert_close(scaled, (embedding - mean) * gain)
        expected = (scaled[TOKENS] @ model.unembedding.weight[ANSWERS].T).numpy()
    expected = centred(centred(expected, 0), 1)
    np.testing.assert_allclose(
        found_in(model)["embedding_logits", None, None], expected, atol=1e-12
    )


def test_a_score_for_the_answer_is_the_models():
    model = made(n_layers=1)
    with torch.no_grad():
        vector = model.embedding.weight[6] + model.positional_embedding.weight[3]
        query = Query(vector.numpy(), float(model.blocks[0].norm1.scale(vector)))
        attention, norm = model.blocks[0].attention, model.blocks[0].norm1
        q = attention.query(norm(vector)).reshape(4, 3)
        # Keys without what is the same for all of them, times their scale.
        for name, table in (
            ("qk_answer", model.embedding.weight[TOKENS]),
            ("qk_answer_positions", model.positional_embedding.weight),
        ):
            keys = F.linear(
                (table - table.mean(-1, keepdim=True)) * norm.weight, attention.key.weight
            )
            scores = torch.einsum("hk,shk->hs", q, keys.reshape(-1, 4, 3)) / np.sqrt(3)
            for head in range(4):
                expected = centred(scores[head].numpy()[None], 1)
                found = found_in(model, query=query)[name, 0, head]
                np.testing.assert_allclose(found, expected, atol=1e-12)


def test_what_has_no_effect_is_subtracted_only_if_weights_sum_to_one():
    softmax, other = (found_in(made(norm="none"), each) for each in (True, False))
    for head in range(4):
        key = ("qk", 0, head)
        np.testing.assert_allclose(softmax[key], centred(other[key], 1), atol=1e-12)
        key = ("ov_neurons", 0, head)
        np.testing.assert_allclose(softmax[key], centred(other[key], 0), atol=1e-12)
        assert abs(other[key].mean(0)).max() > 0.01


def test_factors_multiply_to_the_matrix():
    every = effective_matrices(
        fold(made(n_layers=1), LENGTH), TOKENS, ANSWERS, [True], None, range(LENGTH)
    )
    of_heads = [each for each in every if each.head is not None]
    assert len(of_heads) == 12
    for each in of_heads:
        read, weight, after = each.factors
        assert (read.shape[1], weight.shape) == (12, (12, 3))
        np.testing.assert_allclose(read @ weight @ after, each.values)


def test_rotated_scores_are_left_out():
    names = {name for name, _, _ in found_in(made(position="rope", n_heads=2))}
    assert "qk" not in names
    assert "ov_logits" in names


def test_singular_values_above_rounding():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20, 2)) @ rng.normal(size=(2, 30))
    assert len(EffectiveMatrix("qk", 0, 0, values).singular_values) == 2
    assert len(EffectiveMatrix("qk", 0, 0, np.zeros((4, 4))).singular_values) == 0
    # What is left of a product of orthogonal matrices in float32 is rounding.
    left, right = (np.linalg.qr(rng.normal(size=(20, 20)))[0][:, :n] for n in (5, 7))
    right = right - left @ (left.T @ right)
    left, right = left.T.astype(np.float32).astype(float), right.astype(np.float32).astype(float)
    product = left @ right
    assert np.abs(product).max() > 1e-10
    assert not len(EffectiveMatrix("x", 0, None, product, (left, right)).singular_values)
