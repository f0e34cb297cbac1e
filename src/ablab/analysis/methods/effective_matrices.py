"""Products of weights: what tokens do to scores, neurons and logits. Axes: S, A, H, D, K, M.

Elhage et al., "A mathematical framework for transformer circuits" (2021). S are the input tokens at
places where samples differ, A the answer tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ablab.analysis.methods.folded_weights import Array, Folded, Heads


@dataclass(frozen=True)
class EffectiveMatrix:
    """A product of weights.

    Attributes:
        name: Which product.
        block: The block of its head or neurons; None for W_E W_U.
        head: The head; None without one.
        values: The matrix.
        factors: The matrices whose product it is. For heads, what is read (rows, D), the weight
            that reads it (D, K), and what follows (K, columns).
        reader: The number of that weight, if heads of its block share it; otherwise None.
    """

    name: str
    block: int | None
    head: int | None
    values: Array
    factors: tuple[Array, ...] = ()
    reader: int | None = None

    @property
    def singular_values(self) -> Array:
        """Those above the rounding of float32 weights, the largest first; none if not finite."""
        if not np.isfinite(self.values).all():
            return np.zeros(0)
        found = np.linalg.svd(self.values, compute_uv=False)
        size = np.prod([np.linalg.norm(each) for each in self.factors]) if self.factors else 0.0
        largest = max(found.max(initial=0.0) * max(self.values.shape), float(size))
        limit = largest * np.finfo(np.float32).eps
        above: Array = found[found > limit]
        return above


@dataclass(frozen=True)
class Query:
    """The token whose query a model's answer comes from, if it is always the same.

    Attributes:
        vector: Its embedding with that of its position, (D,).
        scale: What the norm before the first block divides it by.
    """

    vector: Array
    scale: float


def effective_matrices(
    folded: Folded,
    tokens: Sequence[int],
    answers: Sequence[int],
    sums_to_one: Sequence[bool],
    query: Query | None,
    keys: range,
) -> list[EffectiveMatrix]:
    """The effective matrices of a model.

    What has no effect on the pattern or on probabilities is subtracted: the mean over keys of each
    row of scores, and the mean over answers of logits. So is what all tokens have in common, the
    mean over tokens, from values, as it acts as a bias where weights sum to one, and from the
    matrices of the direct paths.

    Args:
        folded: The weights.
        tokens: The tokens S.
        answers: The tokens A.
        sums_to_one: For each block, whether attention weights sum to one.
        query: The answer's query; None if its token varies.
        keys: The positions that it sees.
    """
    embedding = folded.embedding[list(tokens)]
    unembedding = folded.logits.weight[:, list(answers)]
    unembedding = unembedding - unembedding.mean(1, keepdims=True)
    found = []
    for block, heads in enumerate(folded.heads):
        if heads is None:
            continue
        if heads.bilinear:
            positions = folded.positions[keys.start : keys.stop]
            first = query if block == 0 else None
            found += _scores(heads, block, embedding, positions, first, sums_to_one[block])
        neurons = folded.neurons[block]
        read = embedding - embedding.mean(0) if sums_to_one[block] else embedding
        after = {} if neurons is None else {"ov_neurons": heads.output @ neurons.read.weight}
        for name, own in (after | {"ov_logits": heads.output @ unembedding}).items():
            found += _products(name, block, read, heads.value.weight, own, heads.group)
    direct = embedding - embedding.mean(0)
    for block, mlp in enumerate(folded.neurons):
        if mlp is not None:
            found.append(_product("embedding_neurons", block, direct, mlp.read.weight))
            found.append(_product("neuron_logits", block, mlp.write, unembedding))
    return [*found, _product("embedding_logits", None, direct, unembedding)]


def _scores(
    heads: Heads,
    block: int,
    embedding: Array,
    positions: Array,
    first: Query | None,
    sums_to_one: bool,
) -> list[EffectiveMatrix]:
    """The matrices of scores of a block."""

    def keys(vectors: Array) -> Array:
        """Keys by columns, (H, K, n)."""
        found: Array = (vectors @ heads.key.weight).transpose(0, 2, 1)
        return found - found.mean(-1, keepdims=True) if sums_to_one else found

    found = _products("qk", block, embedding, heads.query.weight, keys(embedding))
    if first is not None:
        row = first.vector @ heads.query.weight / first.scale + heads.query.constant  # (H, K)
        named = {"qk_answer": embedding}
        if positions.any():
            named["qk_answer_positions"] = positions
        for name, vectors in named.items():
            found += [
                EffectiveMatrix(name, block, head, query @ own, (query, own))
                for head, (query, own) in enumerate(zip(row[:, None], keys(vectors), strict=True))
            ]
    return found


def _product(name: str, block: int | None, left: Array, right: Array) -> EffectiveMatrix:
    return EffectiveMatrix(name, block, None, left @ right, (left, right))


def _products(
    name: str, block: int, read: Array, weights: Array, after: Array, group: int = 1
) -> list[EffectiveMatrix]:
    """The products for each head, from weights (H, D, K) and what follows them (H, K, columns).

    ``group`` heads that follow each other share a weight.
    """
    return [
        EffectiveMatrix(
            name,
            block,
            head,
            read @ weight @ own,
            (read, weight, own),
            head // group if group > 1 else None,
        )
        for head, (weight, own) in enumerate(zip(weights, after, strict=True))
    ]
