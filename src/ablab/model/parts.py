"""Interfaces of activations, norms and positions. Axes: B, T, H, K, D; Q queries; S keys."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class AttentionActivation(ABC):
    """Turns scores into the weights of values.

    Attributes:
        kernel: The fused kernel that computes exactly this activation: ``softmax`` for torch's own,
            or one of ``ablab.model.flex.NAMES``; None if there is none. A subclass that overrides
            the computation of scores or weights has to set it again.
        ablab_position_wise: Whether the weights of a query depend only on its own scores. A
            subclass that overrides any method has to set it again.
    """

    kernel: ClassVar[str | None] = None
    ablab_position_wise: ClassVar[bool] = False

    @abstractmethod
    def scores(
        self, scores: Float[Tensor, "*B Q S"], hidden: Bool[Tensor, "Q S"] | None
    ) -> Float[Tensor, "*B Q S"]:
        """The scores at the site ``attn_scores``.

        Args:
            scores: Scaled products of queries and keys, including all additive terms.
            hidden: True where a query does not see a key; None if it sees all.
        """

    @abstractmethod
    def weights(
        self, scores: Float[Tensor, "*B Q S"], hidden: Bool[Tensor, "Q S"] | None
    ) -> Float[Tensor, "*B Q S"]:
        """The weights, exactly zero where ``hidden``, from the result of :meth:`scores`."""


class Normalised(AttentionActivation):
    """An activation whose weights in a row depend on one another; hidden scores are -inf."""

    def scores(self, scores: Tensor, hidden: Tensor | None) -> Tensor:
        """The scores with -inf where hidden."""
        return scores if hidden is None else torch.where(hidden, -torch.inf, scores)


class Pointwise(AttentionActivation):
    """An activation whose weights depend on their own score and on the row's length.

    The mask is applied afterwards. Masking scores would be wrong, because tanh(-inf) is -1.
    """

    def scores(self, scores: Tensor, hidden: Tensor | None) -> Tensor:
        """The unchanged scores, including hidden ones."""
        return scores

    def weights(self, scores: Tensor, hidden: Tensor | None) -> Tensor:
        """The weights, exactly zero where hidden."""
        if hidden is None:
            return self.weigh(scores, scores.new_tensor(float(scores.shape[-1])))
        length = (~hidden).sum(-1, keepdim=True).to(scores.dtype)  # (Q, 1)
        return torch.where(hidden, 0.0, self.weigh(scores, length))

    @abstractmethod
    def weigh(
        self, scores: Float[Tensor, "*B Q S"], length: Float[Tensor, "#Q 1"] | Float[Tensor, ""]
    ) -> Float[Tensor, "*B Q S"]:
        """The weight of each score.

        Args:
            scores: The scores.
            length: The number of keys visible to each query (n).
        """


class DividingNorm(nn.Module, ABC):
    """A norm that divides by a number per vector, its scale, which can be read and replaced.

    ``divide(x, scale(x))`` equals ``forward(x)`` up to rounding.

    Attributes:
        ablab_divides: Whether that is so. A subclass that overrides any of the three methods has
            to set it again.
    """

    ablab_divides: ClassVar[bool] = False

    @abstractmethod
    def scale(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B 1"]:
        """What each vector is divided by, ε included; always positive."""

    @abstractmethod
    def divide(self, x: Float[Tensor, "*B D"], scale: Float[Tensor, "*B 1"]) -> Tensor:
        """The normalized vectors with a given scale, of the shape of ``x``."""


class InputPosition(nn.Module, ABC):
    """A position encoding that is added to the embeddings.

    Attributes:
        limit: The number of positions; None for no limit.
    """

    limit: int | None = None

    @abstractmethod
    def __init__(self, length: int, d_model: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, first: int, length: int, device: torch.device) -> Float[Tensor, "T D"]:
        """The vectors that are added at positions ``first`` … ``first + length - 1``."""


class AttentionPosition(nn.Module):
    """A position encoding in attention. Methods that are not overridden have no effect.

    Attributes:
        slopes: ALiBi's slope of each head; empty without a score bias.
        score_bias_is_slopes: Whether :meth:`score_bias` is given by ``slopes``, so that fused
            kernels can add it. A subclass that overrides the method has to set it again.
    """

    score_bias_is_slopes: ClassVar[bool] = True
    ablab_position_wise: ClassVar[bool] = True

    def __init__(self, n_heads: int, d_head: int) -> None:
        super().__init__()
        self.slopes: list[float] = []

    def rotate(
        self, q: Float[Tensor, "B T H K"], k: Float[Tensor, "B S G K"], first: int
    ) -> tuple[Float[Tensor, "B T H K"], Float[Tensor, "B S G K"]]:
        """Transforms queries and keys at the positions from ``first`` on."""
        return q, k

    def score_bias(
        self, queries: Float[Tensor, " Q"], keys: Float[Tensor, " S"]
    ) -> Float[Tensor, "H Q S"] | None:
        """The bias for scores of queries and keys at these positions; None for no bias."""
        return None


def positions(first: int, length: int, device: torch.device) -> Float[Tensor, " T"]:
    """The positions from ``first`` on, in float64 if the device supports it."""
    wide = torch.float32 if device.type == "mps" else torch.float64
    return torch.arange(first, first + length, dtype=wide, device=device)


class Constant(nn.Module):
    """A learned vector with the same initial value for all entries and seeds."""

    ablab_position_wise = True
    ablab_drawn = True

    def __init__(self, size: int, initial: float) -> None:
        super().__init__()
        self.initial = initial
        self.weight = nn.Parameter(torch.full((size,), initial))

    def extra_repr(self) -> str:
        """The size and initial value, shown by ``print``."""
        return f"{self.weight.shape[0]}, initial={self.initial:g}"
