"""Similarities of vectors at positions, beside what chance gives. Axes: T positions, D, V."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

_ROUNDING = 1e-10  # of squares; float32 rounds at 1e-7
Removed = Literal["nothing", "ones", "mean"]


@dataclass(frozen=True)
class Similarity:
    """Similarities of all pairs of positions, (T, T) each; NaN where a vector is zero.

    Attributes:
        cosine: The cosine similarities.
        relative_distance: The squared distance over the product of both norms; 2 for orthogonal
            vectors of equal norm.
        distance_to_spread: Distances over a typical one, see the functions that make these.
        null: The mean cosine by chance.
        high: The 95th percentile.
        p: How often chance gives as large a cosine.
        p_any: How often chance gives as large a cosine for any pair of different positions, a
            correction for the number of pairs (Westfall and Young, 1993).
        drawn: The cosines by chance, (permutations, T, T).
    """

    cosine: NDArray[np.float64]
    relative_distance: NDArray[np.float64]
    distance_to_spread: NDArray[np.float64]
    null: NDArray[np.float64]
    high: NDArray[np.float64]
    p: NDArray[np.float64]
    p_any: NDArray[np.float64]
    drawn: NDArray[np.float64]


def without(vectors: NDArray[np.float64], removed: Removed) -> NDArray[np.float64]:
    """Vectors (T, D) without a constant part.

    Args:
        vectors: The vectors.
        removed: ``ones`` removes the mean over entries of each vector, as layer norm does;
            ``mean`` the mean vector over positions.
    """
    if removed == "nothing":
        return vectors
    found: NDArray[np.float64] = vectors - vectors.mean(
        -1 if removed == "ones" else 0, keepdims=True
    )
    return found


def of_embeddings(vectors: NDArray[np.float64], permutations: int, seed: int) -> Similarity:
    """Similarities of one vector per position, (T, D).

    By chance, the entries of the second vector are permuted. ``distance_to_spread`` is the distance
    over the root mean square of the distances of all pairs.
    """
    unit = _unit(vectors)
    cosine = unit @ unit.T
    rng = np.random.default_rng(seed)
    drawn = np.stack(
        [unit @ unit[:, rng.permutation(unit.shape[1])].T for _ in range(permutations)]
    )
    squares = ((vectors[:, None] - vectors) ** 2).sum(-1)
    pairs = squares[np.triu_indices(len(vectors), 1)]
    spread = pairs.mean() if len(pairs) else np.nan
    return _similarity(
        cosine, _relative(squares, vectors, vectors), squares / (spread or np.nan), drawn
    )


def of_tokens(
    first: NDArray[np.float64], second: NDArray[np.float64], permutations: int, seed: int
) -> Similarity:
    """The mean similarity of the vectors of the same tokens at two positions, (V, D) each.

    By chance, tokens are re-paired. ``distance_to_spread`` is the root mean square distance over
    that of different tokens at the two positions, NaN if these do not differ by more than rounding.
    The result has the shape (1, 1).
    """
    one, other = _unit(first), _unit(second)
    products = one @ other.T  # (V, V)
    pairings = _pairings(len(first), permutations, seed)
    drawn = products[np.arange(len(first)), pairings].mean(-1)
    squares = ((first - second) ** 2).sum(-1)
    every = (first**2).sum(-1)[:, None] + (second**2).sum(-1) - 2 * first @ second.T
    different = every[~np.eye(len(first), dtype=bool)].mean()
    size = ((first**2).sum(-1) + (second**2).sum(-1)).mean()
    norms = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.where(norms > 0, squares / norms, np.nan).mean()
    return _similarity(
        np.array([[np.trace(products) / len(first)]]),
        np.array([[relative]]),
        np.array([[squares.mean() / different if different > _ROUNDING * size else np.nan]]),
        drawn[:, None, None],
    )


@lru_cache(maxsize=4)
def _pairings(count: int, permutations: int, seed: int) -> NDArray[np.int64]:
    """Random orders of some tokens, (permutations, count), the same for all pairs of positions."""
    rng = np.random.default_rng(seed)
    found = np.stack([rng.permutation(count) for _ in range(permutations)])
    found.flags.writeable = False
    return found


def chance_of_cosine(cosine: NDArray[np.float64], dimensions: int) -> NDArray[np.float64]:
    """How often independent normal vectors have at least a given cosine similarity.

    Directions are uniform on the sphere, whatever the norms are, and (1 + cosine) / 2 has the beta
    distribution with both parameters (D - 1) / 2.
    """
    half = (dimensions - 1) / 2
    if half <= 0:
        return np.full(cosine.shape, np.nan)
    found: NDArray[np.float64] = beta.sf((1 + np.clip(cosine, -1, 1)) / 2, half, half)
    return found


def _similarity(
    cosine: NDArray[np.float64],
    relative: NDArray[np.float64],
    squares: NDArray[np.float64],
    drawn: NDArray[np.float64],
) -> Similarity:
    # A pair counts once, although its entries (i, j) and (j, i) are permuted in other ways.
    different = np.triu(np.ones(cosine.shape, dtype=bool), int(len(cosine) > 1))
    largest = np.where(different & ~np.isnan(drawn), drawn, -np.inf).max((1, 2), keepdims=True)
    return Similarity(
        cosine,
        relative,
        np.sqrt(squares),
        drawn.mean(0),
        np.quantile(drawn, 0.95, axis=0),
        _share(cosine, drawn),
        _share(cosine, largest),
        drawn,
    )


def _share(cosine: NDArray[np.float64], drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of permutations that reach a cosine, with itself as one of them."""
    reached = (drawn >= cosine - 1e-9).sum(0)
    return np.where(np.isfinite(cosine), (1 + reached) / (1 + len(drawn)), np.nan)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    found: NDArray[np.float64] = vectors / np.where(norms > 0, norms, np.nan)
    return found


def _relative(
    squares: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    norms = np.outer(np.linalg.norm(first, axis=-1), np.linalg.norm(second, axis=-1))
    found: NDArray[np.float64] = squares / np.where(norms > 0, norms, np.nan)
    return found
