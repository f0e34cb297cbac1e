"""Cosines of effective matrices, beside those of heads that read other directions. Axes: D, K."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ablab.analysis.effective_matrices import EffectiveMatrix
from ablab.analysis.folded_weights import Array

_DIRECT = {"ov_neurons": "embedding_neurons", "ov_logits": "embedding_logits"}
_MOST_HEADS = 32


@dataclass(frozen=True)
class Similarity:
    """The cosine of two matrices of one shape, beside those with random directions.

    Attributes:
        name: The name of the matrices.
        block: Their block.
        head: A head.
        other: Another head; None for the direct path.
        cosine: The cosine of the matrices' entries, their inner product over their norms.
        random: The 95th percentile of its absolute value if ``head`` reads random directions.
        p: The share of rotations with at least this absolute value, that of the data included.
    """

    name: str
    block: int
    head: int
    other: int | None
    cosine: float
    random: float
    p: float


def similarities(
    matrices: Sequence[EffectiveMatrix], rotations: int, seed: int
) -> list[Similarity]:
    """Cosines of the matrices of each pair of heads of a block, and of heads and direct paths.

    Matrices of two heads share the embedding, and those of a head and the direct path also what
    reads the residual stream afterwards. So cosines of unrelated heads are not zero. The null has
    all of that: it rotates what one head reads at random, X W … to X R W …, with R from the Haar
    measure. A head whose reading weights W are independent and normal, such as one that is not
    trained, has the same distribution as with any R. Blocks with more than 32 heads are left out.

    Args:
        matrices: The effective matrices.
        rotations: The number of rotations.
        seed: Their seed.
    """
    found = []
    for name in ("qk", "ov_neurons", "ov_logits"):
        blocks = sorted({m.block for m in matrices if m.name == name and m.block is not None})
        for block in blocks:
            own = [m for m in matrices if m.name == name and m.block == block]
            if len(own) <= _MOST_HEADS:
                direct = [
                    m for m in matrices if m.name == _DIRECT.get(name) and m.block in (block, None)
                ]
                found += _of_block(name, block, own, direct, rotations, seed)
    return found


def _of_block(
    name: str,
    block: int,
    heads: Sequence[EffectiveMatrix],
    direct: Sequence[EffectiveMatrix],
    rotations: int,
    seed: int,
) -> list[Similarity]:
    """The cosines of the heads of one block."""
    fixed = _unit([m.values for m in (*heads, *direct)])  # (n, entries)
    cosines = fixed[: len(heads)] @ fixed.T
    random = np.stack(
        [np.abs(_unit(each) @ fixed.T) for each in _rotated(heads, rotations, seed)]
    )  # (rotations, H, n)
    found = []
    for head in range(len(heads)):
        for other in (*range(head), *range(len(heads), len(fixed))):
            if not fixed[head].any() or not fixed[other].any():
                continue
            cosine, null = float(cosines[head, other]), random[:, head, other]
            p = (1 + int((null >= abs(cosine)).sum())) / (1 + rotations)
            number = other if other < len(heads) else None
            percentile = float(np.quantile(null, 0.95))
            found.append(Similarity(name, block, head, number, cosine, percentile, p))
    return found


def _rotated(heads: Sequence[EffectiveMatrix], rotations: int, seed: int) -> Iterator[list[Array]]:
    """The matrices of all heads after each rotation of what they read."""
    rng = np.random.default_rng(seed)
    factors = [m.factors for m in heads if m.factors is not None]
    read = factors[0][0]  # the same for all heads
    width = read.shape[1]
    for _ in range(rotations):
        rotation = stats.ortho_group.rvs(width, random_state=rng) if width > 1 else np.eye(1)
        rotated = read @ rotation
        yield [rotated @ weight @ after for _, weight, after in factors]


def _unit(matrices: Sequence[Array]) -> Array:
    """Matrices as rows of norm one; zero stays zero."""
    rows = np.stack([each.ravel() for each in matrices])
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    found: Array = rows / np.where(norms, norms, 1)
    return found


def corrected(p: Sequence[float]) -> NDArray[np.float64]:
    """p-values corrected after Benjamini and Hochberg (1995)."""
    values = np.asarray(p, dtype=np.float64)
    found: NDArray[np.float64] = stats.false_discovery_control(values) if len(values) else values
    return found
