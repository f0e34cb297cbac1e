"""Cosines of effective matrices, beside those of heads that read other directions. Axes: D, K."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ablab.analysis.methods.effective_matrices import EffectiveMatrix
from ablab.analysis.methods.folded_weights import Array

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
    trained, has the same distribution as with any R. Two heads that share a value head do not read
    independently, so their products with W_V are not compared. Blocks with more than 32 heads are
    left out.

    Args:
        matrices: The effective matrices.
        rotations: The number of rotations.
        seed: Their seed.
    """
    families = list(_families(matrices))
    if not families:
        return []
    fixed = [_unit([m.values for m in (*heads, *direct)]) for heads, direct in families]
    random: list[list[Array]] = [[] for _ in families]
    rng = np.random.default_rng(seed)
    for _ in range(rotations):
        rotation = _rotation(_factors(families[0][0])[0].shape[1], rng)
        for (heads, _), own, found in zip(families, fixed, random, strict=True):
            read, after = _factors(heads)[0] @ rotation, [_factors([m])[1:] for m in heads]
            found.append(np.abs(_unit([read @ w @ rest for w, rest in after]) @ own.T))
    return [
        each
        for (heads, _), own, null in zip(families, fixed, random, strict=True)
        for each in _pairs(heads, own, np.stack(null))
    ]


def _families(
    matrices: Sequence[EffectiveMatrix],
) -> Iterator[tuple[list[EffectiveMatrix], list[EffectiveMatrix]]]:
    """Matrices of the heads of a block that have one shape, and the direct path of that shape."""
    for name in ("qk", "ov_neurons", "ov_logits"):
        for block in sorted({m.block for m in matrices if m.name == name and m.block is not None}):
            heads = [m for m in matrices if m.name == name and m.block == block]
            direct = [
                m for m in matrices if m.name == _DIRECT.get(name) and m.block in (block, None)
            ]
            if len(heads) <= _MOST_HEADS:
                yield heads, direct


def _factors(heads: Sequence[EffectiveMatrix]) -> tuple[Array, Array, Array]:
    """The factors of the first one; what is read is the same for all heads of a family."""
    read, weight, after = heads[0].factors
    return read, weight, after


def _rotation(width: int, rng: np.random.Generator) -> Array:
    """A random orthogonal matrix."""
    if width == 1:
        return np.array([[rng.choice([-1.0, 1.0])]])
    found: Array = stats.ortho_group.rvs(width, random_state=rng)
    return found


def _pairs(heads: Sequence[EffectiveMatrix], fixed: Array, random: Array) -> list[Similarity]:
    """The cosines of one family; ``random`` has the axes rotation, head, and matrix."""
    cosines = fixed[: len(heads)] @ fixed.T
    found = []
    for head in range(len(heads)):
        for other in (*range(head), *range(len(heads), len(fixed))):
            if not fixed[head].any() or not fixed[other].any():
                continue
            reader = heads[head].reader
            if reader is not None and other < len(heads) and heads[other].reader == reader:
                continue
            cosine, null = float(cosines[head, other]), random[:, head, other]
            found.append(
                Similarity(
                    heads[head].name,
                    heads[head].block or 0,
                    head,
                    other if other < len(heads) else None,
                    cosine,
                    float(np.quantile(null, 0.95)),
                    (1 + int((null >= abs(cosine)).sum())) / (1 + len(random)),
                )
            )
    return found


def _unit(matrices: Sequence[Array]) -> Array:
    """Matrices as rows of norm one; zero stays zero."""
    rows = np.stack([each.ravel() for each in matrices])
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    found: Array = rows / np.where(norms, norms, 1)
    return found
