"""Scores of heads: how much they attend to certain positions. Axes: N, T queries, S keys, H heads.

A score is the mean share of attention to the keys that match, over the queries with a match.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ELEMENTS = 2**20  # of the permutations that are drawn together
_LONGEST_REPEATED = 64  # positions of random sequences
_PRODUCTS = 64**3  # queries times keys², as chance needs N H T S² operations
_TIED = 1e-6  # relative; scores this close are equal up to rounding


@dataclass(frozen=True)
class HeadScore:
    """A score of each head, and what chance gives.

    Attributes:
        values: The scores, (H,); NaN without a query.
        null: The mean scores with permuted keys, (H,). Of more than 64 positions, this and what
            follows are of some queries, spread evenly, and of the score of these.
        high: Their 95th percentiles, (H,).
        p: The share of permutations with a score at least as large, (H,).
        p_any: The share of permutations in which any head has a score at least as large, (H,), a
            correction for the number of heads (Westfall and Young, 1993).
    """

    values: NDArray[np.float64]
    null: NDArray[np.float64]
    high: NDArray[np.float64]
    p: NDArray[np.float64]
    p_any: NDArray[np.float64]


def previous_token(tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The key before each query, (N, T, S)."""
    length = tokens.shape[1]
    return np.broadcast_to(np.eye(length, k=-1, dtype=bool), (len(tokens), length, length))


def duplicate_token(tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Earlier keys with the same token as the query, (N, T, S)."""
    earlier = np.tri(tokens.shape[1], k=-1, dtype=bool)
    same = tokens[:, :, None] == tokens[:, None, :]
    found: NDArray[np.bool_] = same & earlier
    return found


def induction(tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Keys after an earlier occurrence of the query's token, (N, T, S)."""
    found = np.zeros((*tokens.shape, tokens.shape[1]), dtype=bool)
    found[:, :, 1:] = duplicate_token(tokens)[:, :, :-1]
    return found


MATCHES = {
    "previous_token": previous_token,
    "duplicate_token": duplicate_token,
    "induction": induction,
}


def head_score(
    shares: NDArray[np.float64],
    matches: NDArray[np.bool_],
    queries: NDArray[np.float64],
    visible: NDArray[np.bool_],
    permutations: int,
    seed: int,
) -> HeadScore:
    """The score of each head, beside that with its keys permuted among the visible ones.

    The permutation is drawn for each query position, and is the same for all samples. So a head
    that attends to fixed positions keeps doing so.

    Args:
        shares: The shares of attention, (N, H, T, S).
        matches: Which keys match, (N, T, S).
        queries: The weights of queries, (N, T); 0 leaves one out.
        visible: Which keys each query sees, (H, T, S).
        permutations: The number of permutations.
        seed: Their seed.
    """
    seen = matches[:, None] & visible  # (N, H, T, S)
    weights = queries[:, None] * seen.any(-1) * (visible.sum(-1) > 1) * (shares.sum(-1) > 0)
    values = _mean(np.einsum("nht,nhts,nhts->h", weights, seen, shares, optimize=True), weights)
    chosen = _some_queries(weights)
    shares, seen, weights = shares[:, :, chosen], seen[:, :, chosen], weights[:, :, chosen]
    visible = visible[:, chosen]
    totals = weights.sum((0, 2))  # (H,)
    # moments[h, t, s, u]: the share of key u where key s matches
    moments = np.einsum("nht,nhts,nhtu->htsu", weights, seen, shares, optimize=True)
    observed = np.einsum("htss->h", moments)
    rng = np.random.default_rng(seed)
    kinds, kind = np.unique(visible, axis=0, return_inverse=True)
    drawn = np.empty((permutations, len(totals)))
    together = max(1, _ELEMENTS // visible.size)
    for first in range(0, permutations, together):
        count = min(together, permutations - first)
        order = _permutations(kinds, count, rng)[:, kind.ravel()]  # (P, H, T, S)
        moved = np.take_along_axis(moments[None], order[..., None], axis=-1)
        drawn[first : first + count] = moved.sum((2, 3, 4))
    observed, drawn = _mean(observed, weights), _mean(drawn, weights)
    return HeadScore(
        values,
        drawn.mean(0),
        np.quantile(drawn, 0.95, axis=0),
        _share(observed, drawn),
        _share(observed, np.where(np.isnan(drawn), -np.inf, drawn).max(-1, keepdims=True)),
    )


def _mean(sums: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of each head, (…, H), over the weights of its queries, (N, H, T); NaN without any."""
    totals = weights.sum((0, 2))
    found: NDArray[np.float64] = sums / np.where(totals > 0, totals, np.nan)
    return found


def _some_queries(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """The queries that are compared with chance: all of few, otherwise as many as are affordable.

    Args:
        weights: The weights of queries, (N, H, T).
    """
    length = weights.shape[-1]
    count = max(1, _PRODUCTS // length**2)
    every = np.arange(length)
    if count >= length:
        return every
    used = every[weights.sum((0, 1)) > 0]
    if not len(used):
        return every[:1]
    places = np.linspace(0, len(used) - 1, min(count, len(used))).round().astype(int)
    chosen: NDArray[np.int64] = used[places]
    return chosen


def _share(values: NDArray[np.float64], drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of draws that reach a value, with the value itself as one of them; NaN of NaN."""
    reached = (drawn >= values * (1 - _TIED)).sum(0)
    return np.where(np.isnan(values), np.nan, (1 + reached) / (1 + len(drawn)))


def _permutations(
    visible: NDArray[np.bool_], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The visible keys of each query in random orders; others keep their places.

    Args:
        visible: Which keys each query sees, (K, T, S).
        count: The number of orders.
        rng: Draws them; the order of a query is that of the same draws for all K.

    Returns:
        The orders, (P, K, T, S).
    """
    length = visible.shape[-1]
    order = np.broadcast_to(np.arange(length), (count, *visible.shape)).copy()
    keys = np.where(visible, rng.random((count, 1, *visible.shape[1:])), 2.0)
    ranks = np.argsort(keys, axis=-1, kind="stable")  # visible ones first
    seen = visible.sum(-1, keepdims=True)
    firsts = visible.argmax(-1)[..., None]
    inside = np.arange(length) - firsts
    shuffled = np.take_along_axis(ranks, np.clip(inside, 0, length - 1)[None], axis=-1)
    np.copyto(order, shuffled, where=(inside >= 0) & (inside < seen))
    return order


def repeated_sequences(
    tokens: NDArray[np.int64], length: int, samples: int, seed: int
) -> NDArray[np.int64] | None:
    """Random sequences that are repeated once, (samples, 2 m) with m = length // 2 at most 32.

    Args:
        tokens: The tokens to draw from; different ones within a sequence if there are enough.
        length: The largest length.
        samples: The number of sequences.
        seed: Their seed.

    Returns:
        The sequences; None if m is less than 2 or there are less than two tokens.
    """
    half = min(length, _LONGEST_REPEATED) // 2
    if half < 2 or len(tokens) < 2:
        return None
    rng = np.random.default_rng(seed)
    if len(tokens) >= half:
        order = np.argsort(rng.random((samples, len(tokens))), axis=-1)[:, :half]
    else:
        order = rng.integers(len(tokens), size=(samples, half))
    return np.tile(tokens[order], 2)
