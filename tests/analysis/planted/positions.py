"""Modular adders with known positional embeddings.

The embeddings lie in directions of the residual stream that nothing reads, so that the model
computes the same as without them (:mod:`tests.analysis.planted.modular`); the pattern of the head
follows from the token ``=``. Their components there (3, n) are independent and standard normal:

- ``equal``: one draw for both operands, and another one for ``=``;
- ``random``: three independent draws. The cosine similarity of two of them has the mean 0 and the
  variance 1 / n.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tests.analysis.planted.modular import POSITION_DIRECTIONS, ModularAdder, modular_adder


@dataclass(frozen=True)
class Positions:
    """A model with known positional embeddings. Axes: T = 3 positions; n directions.

    Attributes:
        adder: The modular adder, with its model and task.
        operands_equal: Whether the positional embeddings of the operands are equal.
        components: The components of the embeddings in orthonormal directions, (T, n), in units of
            the scale.
        cosines: The cosine similarities of the embeddings, (T, T).
        distances: The Euclidean distances of the embeddings in the residual stream, (T, T).
        dimensions: The number n of dimensions from which the embeddings are drawn.
    """

    adder: ModularAdder
    operands_equal: bool
    components: np.ndarray
    cosines: np.ndarray
    distances: np.ndarray
    dimensions: int


def positions(
    kind: Literal["equal", "random"], *, p=29, activation="relu", scale=1.0, norm="none",
    bias=False, seed=0,
):  # fmt: skip
    """A modular adder with positional embeddings.

    Args:
        kind: ``equal`` or ``random``.
        p: The modulus.
        activation: ``relu`` or ``square``.
        scale: The scale of the residual stream.
        norm: The norm, accounted for.
        bias: Whether there are biases.
        seed: The seed of the embeddings, and as of ``modular_adder``.
    """
    drawn = np.random.default_rng((seed, 5)).normal(size=(3, POSITION_DIRECTIONS))
    if kind == "equal":
        drawn[1] = drawn[0]
    adder = modular_adder(
        p, None, activation, scale=scale, norm=norm, bias=bias, positions=drawn, seed=seed
    )
    norms = np.linalg.norm(drawn, axis=-1)
    cosines = drawn @ drawn.T / np.outer(norms, norms)
    distances = scale * np.linalg.norm(drawn[:, None] - drawn, axis=-1)
    return Positions(adder, kind == "equal", drawn, cosines, distances, POSITION_DIRECTIONS)
