"""One forward pass: the sites it passes, what is drawn in it, and the kernels it runs on.

Model code calls :class:`Forward` at its sites and knows nothing else of watching, of the engine or
of random numbers. Axes: B batch, T sequence, H heads, D model, K head, M hidden, V vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int, Int16
from torch import Tensor
from torch.nn import functional as F

from ablab.model import flex
from ablab.model.flex import Terms

Tap = Callable[[Tensor], Tensor]


class Kernels(ABC):
    """The operations that an engine may run its own way; results agree up to rounding.

    Attributes:
        fused_attention: Whether attention is taken by :meth:`attend`; otherwise the model's own
            matrix products run.
    """

    fused_attention: bool = True

    @abstractmethod
    def attend(
        self,
        q: Float[Tensor, "B H Q K"],
        k: Float[Tensor, "B H S K"],
        v: Float[Tensor, "B H S K"],
        mask: Float[Tensor, "*H Q S"] | None,
        causal: bool,
    ) -> Float[Tensor, "B H Q K"]:
        """Softmax attention, scaled by 1 / sqrt(K).

        Args:
            q: Queries.
            k: Keys.
            v: Values.
            mask: What is added to the scores, the same for all samples and runs.
            causal: Whether each query sees the keys up to its own place alone; not with a mask.
        """

    @abstractmethod
    def attend_by(
        self,
        activation: str,
        q: Float[Tensor, "B H Q K"],
        k: Float[Tensor, "B H S K"],
        v: Float[Tensor, "B H S K"],
        terms: Terms,
    ) -> Float[Tensor, "B H Q K"]:
        """Attention with another activation than softmax, where there is a fused kernel for it.

        Args:
            activation: One of ``ablab.model.flex.NAMES``.
            q: Queries.
            k: Keys.
            v: Values.
            terms: What is done to the scores before it.
        """

    @abstractmethod
    def embed(self, tokens: Int[Tensor, "B T"], table: Float[Tensor, "V D"]) -> Tensor:
        """The rows of a table, of shape (B, T, D)."""


class FusedKernels(Kernels):
    """torch's own fused kernels, for one run."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """Softmax attention; see :meth:`Kernels.attend`."""
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)

    def attend_by(self, activation: str, q: Tensor, k: Tensor, v: Tensor, terms: Terms) -> Tensor:
        """Attention with another activation; see :meth:`Kernels.attend_by`."""
        return flex.attend(activation, q, k, v, terms)

    def embed(self, tokens: Tensor, table: Tensor) -> Tensor:
        """The rows of a table, (B, T, D)."""
        return F.embedding(tokens, table)


class PlainKernels(FusedKernels):
    """Attention by plain matrix products, which is faster on short sequences."""

    fused_attention = False


class Noise:
    """Dropout masks cut, one after another, from a step's random words.

    Args:
        words: 16-bit words of shape (B, N), uniform over all values, N a sample's need.
    """

    def __init__(self, words: Int16[Tensor, "B N"]) -> None:
        self._words = words
        self._used = 0

    def keep(self, shape: torch.Size, p: float) -> Tensor:
        """A mask of ``shape`` (B, …), True with probability 1 - p (rounded to 1 / 65536)."""
        size = shape[1:].numel()
        cut = self._words[:, self._used : self._used + size]
        self._used += size
        return (cut >= dropout_threshold(p)).reshape(shape)


class NoiseCounter(Noise):
    """Notes the words that each mask of a sample needs; its masks keep everything."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def keep(self, shape: torch.Size, p: float) -> Tensor:
        """A mask of ones; the need is added to ``sizes``."""
        self.sizes.append(shape[1:].numel())
        return torch.ones((), dtype=torch.bool)


def dropout_threshold(p: float) -> int:
    """The 16-bit signed word from which on an entry is kept under dropout ``p``."""
    return round(p * 65536) - 32768


class Cache:
    """Keys and values of the tokens that were read before, for generation token by token.

    New ones are joined to those kept; nothing is written in place, so whatever was computed from
    the old ones keeps its gradient.
    """

    def __init__(self) -> None:
        self._extended: dict[str, tuple[Tensor, Tensor]] = {}
        self.length = 0

    def extend(
        self, name: str, k: Float[Tensor, "B T H K"], v: Float[Tensor, "B T H K"]
    ) -> tuple[Float[Tensor, "B S H K"], Float[Tensor, "B S H K"]]:
        """All keys and values of the attention called ``name``, the new ones last."""
        if name in self._extended:
            before_k, before_v = self._extended[name]
            k, v = torch.cat([before_k, k], dim=1), torch.cat([before_v, v], dim=1)
        self._extended[name] = (k, v)
        return k, v


@dataclass
class Forward:
    """What one forward pass is asked to show and change, and where its noise comes from.

    Attributes:
        taps: Functions of the tensor at a site, by the site's name; what one returns flows on.
        noise: Where dropout masks come from in training by ablab. Without it a module's own
            ``training`` decides, with torch's global generator, as in any torch module.
        kernels: The engine's operations.
        cache: What was read before the tokens of this pass; None where they are the first.
        first: The first position whose logits are asked for; only a model that ``trims`` is asked.
        visited: The names of the sites passed so far, in order.
    """

    taps: Mapping[str, Tap] = field(default_factory=dict)
    noise: Noise | None = None
    kernels: Kernels = field(default_factory=FusedKernels)
    cache: Cache | None = None
    first: int = 0
    visited: list[str] = field(default_factory=list)
    prefix: str = ""

    def within(self, part: str) -> "Forward":
        """The same pass, seen from a part of the model: its sites' names begin with ``part``."""
        return replace(self, prefix=f"{self.prefix}{part}.")

    @property
    def past(self) -> int:
        """How many tokens were read before those of this pass."""
        return 0 if self.cache is None else self.cache.length

    def site(self, name: str, tensor: Tensor) -> Tensor:
        """Passes a site: a tap there reads the tensor and may put another in its place."""
        full = self.prefix + name
        self.visited.append(full)
        tap = self.taps.get(full)
        return tensor if tap is None else tap(tensor)

    def wants(self, *names: str) -> bool:
        """Whether any of these sites is tapped."""
        return any(self.prefix + name in self.taps for name in names)

    def dropout(self, tensor: Tensor, p: float, training: bool) -> Tensor:
        """Zeroes a share ``p`` of the entries and scales the rest by 1 / (1 - p), in training."""
        if p == 0.0 or not training:
            return tensor
        if self.noise is None:
            return F.dropout(tensor, p)
        kept_share = 1 - round(p * 65536) / 65536
        return tensor * self.noise.keep(tensor.shape, p) / kept_share
