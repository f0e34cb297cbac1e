"""Replacements of tensors at sites, given as data. Axes: B samples, then those of the site.

The same replacement of many models is computed in one pass, which a function could not be.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

How = Literal["zero", "mean", "resample"]


@dataclass(frozen=True)
class Replacement:
    """Replaces a tensor at a site, or a part of it.

    Attributes:
        site: The name of the site, or a pattern of several.
        how: By zeros (``zero``); by its mean over the samples (``mean``); or by its values for
            other samples (``resample``): for each sample, those of one that is drawn without
            replacement.
        at: Which part, as pairs of an axis and an index or several; axis 0 is that of samples.
            Head 2 of ``blocks.0.attn.z``, (B, T, H, K), is ``((2, 2),)``; what position 3 sees of
            position 1 in ``blocks.0.attn.pattern``, (B, H, T, T), is ``((2, 3), (3, 1))``.
        seed: The seed of ``resample``.
        weights: The weights of the samples in ``mean``, (B,); none for equal ones.
    """

    site: str
    how: How = "mean"
    at: tuple[tuple[int, int | tuple[int, ...]], ...] = ()
    seed: int = 0
    weights: tuple[float, ...] = ()

    def apply(self, x: Tensor) -> Tensor:
        """The tensor at the site with the part replaced.

        Args:
            x: (B, …).

        Raises:
            IndexError: There is no such axis or index.
        """
        if not self.at:
            return self._new(x)
        for axis, _ in self.at:
            if not 0 <= axis < x.ndim:
                raise IndexError(f"{self.site} has axes 0 to {x.ndim - 1}, not {axis}")
        (axis, index), *others = self.at
        if isinstance(index, int) and axis > 0 and not others:  # such as a head: without a mask
            changed = x.clone()
            changed.select(axis, index).copy_(self._new(x.select(axis, index)))
            return changed
        part = torch.ones((), dtype=torch.bool)
        for axis, index in self.at:
            chosen = torch.zeros(x.shape[axis], dtype=torch.bool)
            chosen[list(index) if isinstance(index, tuple) else index] = True
            part = part & chosen.view([-1 if each == axis else 1 for each in range(x.ndim)])
        return torch.where(part, self._new(x), x)

    def _new(self, x: Tensor) -> Tensor:
        """What a tensor (B, …) is replaced by."""
        if self.how == "zero":
            return torch.zeros_like(x)
        if self.how == "mean" and self.weights:
            weights = torch.tensor(self.weights, dtype=torch.float64)
            mean: Tensor = torch.tensordot(weights / weights.sum(), x.double(), dims=1)
            return mean.to(x.dtype).expand_as(x)
        if self.how == "mean":
            return x.mean(0, keepdim=True).expand_as(x)
        order = torch.Generator().manual_seed(self.seed)
        return x[torch.randperm(len(x), generator=order)]
