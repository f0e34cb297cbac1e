"""The two bugs of the attention-norms logbook, put back on purpose.

The recipe ``attention-norms-bugs`` names these beside the components that do what they say. Each is
the sound one less what the logbook had forgotten; ``ablab doctor`` finds every one of them.

Axes: B, T, H, K in a norm of queries or keys; Q and S queries and keys.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ablab.model.attention_activations.none import Linear
from ablab.model.attention_activations.tanh import Tanh
from ablab.model.parts import AttentionActivation


class FrobeniusNormWithoutDim(nn.Module):
    """y = x / ‖x‖, with one norm of the whole batch: ``torch.norm(x)`` without ``dim=-1``.

    A vector's length then falls with the root of how many vectors there are, B T H for queries, so
    that scores are nearly zero, and all samples of a batch depend on one another.
    """

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """X over the norm of all of it."""
        return x * torch.rsqrt(x.square().sum() + 1e-12)


class RMSNormWithoutDim(nn.Module):
    """y = √D x / ‖x‖ · w, with one norm of the whole batch in place of each vector's own."""

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """X over the norm of all of it, times the root of the width and a learned scale."""
        return x * torch.rsqrt(x.square().sum() / self.width + 1e-5) * self.weight


class _WithoutMask(AttentionActivation):
    """A sound activation whose mask is forgotten: every query sees every key, later ones too."""

    sound: AttentionActivation

    def scores(
        self, scores: Float[Tensor, "*B Q S"], hidden: Bool[Tensor, "Q S"] | None
    ) -> Float[Tensor, "*B Q S"]:
        """The scores as they are."""
        return scores

    def weights(
        self, scores: Float[Tensor, "*B Q S"], hidden: Bool[Tensor, "Q S"] | None
    ) -> Float[Tensor, "*B Q S"]:
        """The weights of all keys, whatever is hidden."""
        return self.sound.weights(scores, None)


class TanhWithoutMask(_WithoutMask):
    """w_ij = tanh(s_ij) for every j, later positions too."""

    sound = Tanh()


class LinearWithoutMask(_WithoutMask):
    """w_ij = s_ij for every j, later positions too."""

    sound = Linear()
