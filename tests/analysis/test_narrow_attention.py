"""Attention with samples innermost agrees with the formula in NumPy."""

import numpy as np
import pytest
import torch

from ablab.analysis.narrow_attention import NarrowKernels, narrow_attention
from ablab.model.forward import Kernels


def drawn(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_formula(q, k, v, added):
    """softmax(q kᵀ / sqrt(K) + added) v, in float64."""
    q, k, v = (np.asarray(x, dtype=np.float64) for x in (q, k, v))
    scores = np.einsum("bhqk,bhsk->bhqs", q, k) / np.sqrt(q.shape[-1]) + added
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("bhqs,bhsk->bhqk", weights / weights.sum(-1, keepdims=True), v)


@pytest.mark.parametrize(
    ("queries", "masked"), [(4, "causal"), (1, "no"), (4, "mask"), (2, "head")]
)
def test_it_is_softmax_attention(queries, masked):
    q, k, v = drawn(6, 3, queries, 5, seed=0), drawn(6, 3, 4, 5, seed=1), drawn(6, 3, 4, 5, seed=2)
    hidden = np.where(np.arange(4) > np.arange(queries)[:, None], -np.inf, 0.0)
    bias = drawn(3, queries, 4, seed=3)
    mask, added = {
        "causal": (None, hidden),
        "no": (None, 0.0),
        "mask": (torch.from_numpy(hidden).float(), hidden),
        "head": (bias, bias.double().numpy()),
    }[masked]
    found = narrow_attention(q, k, v, mask, masked == "causal")
    assert found.shape == q.shape
    np.testing.assert_allclose(found, by_formula(q, k, v, added), rtol=1e-5, atol=1e-6)


class Others(Kernels):
    """Kernels whose results are all -1, so that their use shows."""

    def attend(self, q, k, v, mask, causal):
        return torch.full_like(q, -1)

    def attend_by(self, activation, q, k, v, terms):
        return torch.full_like(q, -1)

    def embed(self, tokens, table):
        return torch.full_like(tokens, -1)


@pytest.mark.parametrize(
    ("samples", "keys", "width", "stacked", "own"),
    [
        (300, 3, 4, False, True),
        (20_000, 3, 4, False, True),  # in several parts
        (16, 3, 4, False, False),
        (16, 3, 4, True, True),
        (300, 40, 4, False, False),
        (300, 3, 16, False, False),
    ],
)
@pytest.mark.parametrize("masked", ["no", "causal", "mask", "head"])
def test_it_is_used_where_it_is_faster(samples, keys, width, stacked, own, masked):
    kernels = NarrowKernels(Others(), stacked=stacked)
    q, k, v = (drawn(samples, 2, keys, width, seed=seed) for seed in range(3))
    mask, added = {
        "no": (None, 0.0),
        "causal": (None, np.triu(np.full((keys, keys), -np.inf), 1)),
        "mask": (drawn(keys, keys, seed=3), drawn(keys, keys, seed=3).double().numpy()),
        "head": (drawn(2, keys, keys, seed=4), drawn(2, keys, keys, seed=4).double().numpy()),
    }[masked]
    found = kernels.attend(q, k, v, mask, causal=masked == "causal")
    expected = by_formula(q, k, v, added) if own else -np.ones(q.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert kernels.embed(torch.zeros(2), torch.zeros(3)).tolist() == [-1, -1]
