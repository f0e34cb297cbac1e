"""The state of a forward pass: taps at its sites, dropout noise, kernels and cache.

Model code calls :class:`Forward` at its sites. It does not depend on statistics, engines or random
numbers in any other way. Axes: B batch, T sequence, H heads, D model, K head, M hidden,
V vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int, Int16
from torch import Tensor
from torch.nn import functional as F

from ablab.config import InputError, Problem
from ablab.model import flex
from ablab.model.flex import Terms

Tap = Callable[[Tensor], Tensor]


class Kernels(ABC):
    """Operations that engines may implement differently. Results agree up to rounding.

    Attributes:
        fused_attention: Whether attention calls :meth:`attend`; otherwise it uses matrix
            products.
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
            mask: Added to the scores, the same for all samples.
            causal: Whether a query only sees keys up to its own position; not with a mask.
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
        """Attention with an activation other than softmax that has a fused kernel.

        Args:
            activation: One of ``ablab.model.flex.NAMES``.
            q: Queries.
            k: Keys.
            v: Values.
            terms: The terms added to the scores, and the mask.
        """

    @abstractmethod
    def embed(self, tokens: Int[Tensor, "B T"], table: Float[Tensor, "V D"]) -> Tensor:
        """Looks up the rows of a table, (B, T, D)."""


class FusedKernels(Kernels):
    """torch's fused kernels, for one run."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """Softmax attention; see :meth:`Kernels.attend`."""
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)

    def attend_by(self, activation: str, q: Tensor, k: Tensor, v: Tensor, terms: Terms) -> Tensor:
        """Attention with another activation; see :meth:`Kernels.attend_by`."""
        return flex.attend(activation, q, k, v, terms)

    def embed(self, tokens: Tensor, table: Tensor) -> Tensor:
        """See :meth:`Kernels.embed`."""
        return F.embedding(tokens, table)


class PlainKernels(FusedKernels):
    """Attention by plain matrix products, which is faster on short sequences."""

    fused_attention = False


class Noise:
    """Dropout masks from the random words of a step, which are used in order.

    Args:
        words: Uniform 16-bit words, (B, N), where N is the number that a sample needs.
        sizes: How many of them each mask takes per sample, in order (:class:`NoiseCounter`).
    """

    def __init__(self, words: Int16[Tensor, "B N"], sizes: Sequence[int]) -> None:
        self._words = words
        self._sizes = iter(sizes)
        self._used = 0

    def keep(self, shape: torch.Size, p: float) -> Tensor:
        """A mask, True with probability 1 - p, rounded to 1 / 65536.

        Args:
            shape: Its shape: (B, …), or one with as many entries, such as (B T, D) or (T, B, D). A
                shape without samples, such as (T, D), gets the words of the first sample.
            p: The probability of dropping.

        Raises:
            InputError: The shape has another number of entries.
        """
        size = next(self._sizes, 0)
        cut = self._words[:, self._used : self._used + size]
        self._used += size
        if size == shape.numel():
            cut = cut[:1]
        elif len(cut) * size != shape.numel():
            raise InputError(
                Problem(
                    "dropout on a tensor whose size is not in proportion to the number of samples",
                    given=f"shape {tuple(shape)}, of {len(cut)} samples",
                    expected=f"{size} entries for each sample, as with a single one",
                )
            )
        return (cut >= dropout_threshold(p)).reshape(shape)


class NoiseCounter(Noise):
    """Counts the words that each mask needs for a single sample; its masks are all True."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def keep(self, shape: torch.Size, p: float) -> Tensor:
        """A mask of ones; appends the number of words to ``sizes``."""
        self.sizes.append(shape.numel())
        return torch.ones((), dtype=torch.bool)


def dropout_threshold(p: float) -> int:
    """The smallest signed 16-bit word for which dropout ``p`` does not zero an entry."""
    return round(p * 65536) - 32768


class Cache:
    """The key-value cache for generation token by token.

    New keys and values are concatenated to the cached ones. Nothing is written in place, so earlier
    results keep their gradients.

    Attributes:
        length: The number of cached tokens.
    """

    def __init__(self) -> None:
        self._extended: dict[str, tuple[Tensor, Tensor]] = {}
        self.length = 0

    def extend(
        self, name: str, k: Float[Tensor, "B T H K"], v: Float[Tensor, "B T H K"]
    ) -> tuple[Float[Tensor, "B S H K"], Float[Tensor, "B S H K"]]:
        """Appends keys and values of the attention called ``name``; returns all of them."""
        if name in self._extended:
            before_k, before_v = self._extended[name]
            k, v = torch.cat([before_k, k], dim=1), torch.cat([before_v, v], dim=1)
        self._extended[name] = (k, v)
        return k, v


@dataclass
class Forward:
    """The state of one forward pass.

    Attributes:
        taps: Functions of the tensor at a site, by the name of the site. The pass continues with
            the result of the function.
        noise: Dropout masks. If it is None, dropout uses torch's global generator, as in any
            torch module.
        kernels: The engine's kernels.
        cache: Keys and values of earlier tokens; None without a cache.
        first: The first position whose logits are needed; only for models that ``trims``.
        all_sites: Whether to pass every optional site, as if it were tapped.
        visited: The names of the sites passed so far, in order.
        prefix: The prefix of the names of sites in the current part of the model.
    """

    taps: Mapping[str, Tap] = field(default_factory=dict)
    noise: Noise | None = None
    kernels: Kernels = field(default_factory=FusedKernels)
    cache: Cache | None = None
    first: int = 0
    all_sites: bool = False
    visited: list[str] = field(default_factory=list)
    prefix: str = ""

    def within(self, part: str) -> "Forward":
        """The same pass, for a part of the model whose sites have names beginning with ``part``."""
        return replace(self, prefix=f"{self.prefix}{part}.")

    @property
    def past(self) -> int:
        """The number of cached tokens before those of this pass."""
        return 0 if self.cache is None else self.cache.length

    def site(self, name: str, tensor: Tensor) -> Tensor:
        """Passes a site, where a tap may read or replace the tensor."""
        full = self.prefix + name
        self.visited.append(full)
        tap = self.taps.get(full)
        return tensor if tap is None else tap(tensor)

    def wants(self, *names: str) -> bool:
        """Whether any of these sites is tapped; an optional site is computed only then."""
        if self.all_sites:
            return True
        return bool(self.taps) and any(self.prefix + name in self.taps for name in names)

    def dropout(self, tensor: Tensor, p: float, training: bool) -> Tensor:
        """In training, zeroes a fraction ``p`` of the entries and divides the rest by 1 - p."""
        if p == 0.0 or not training:
            return tensor
        if self.noise is None:
            return F.dropout(tensor, p)
        kept_fraction = 1 - round(p * 65536) / 65536
        return tensor * self.noise.keep(tensor.shape, p) / kept_fraction
