"""One pass over a tensor, shared by all reducers of rows. Axes: W runs, N rows, D, m.

A row is the last axis. The pass computes up to four parts of a tensor (W, …, D): ``norms`` (W, N),
and the partial results ``total``, ``largest`` and ``zeros``, each (W, m) with any m ≥ 1.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from ablab.watching.reducer import Rows

PARTS = ("norms", "total", "largest", "zeros")
_MASKED = -3e38  # values below it are -inf, and so masked


class RowPass(ABC):
    """An implementation of the pass; all agree up to rounding.

    Attributes:
        is_traceable: Whether it consists of torch's operations, which a compiler can fuse.
        also: Reducers of complete tensors that the same pass can compute; their names are parts.
    """

    is_traceable: bool = True
    also: frozenset[str] = frozenset()

    @abstractmethod
    def reduce(self, x: Tensor, parts: frozenset[str], hides: bool = False) -> dict[str, Tensor]:
        """Computes the requested parts of a tensor (W, …, D).

        Args:
            x: The tensor.
            parts: What is requested.
            hides: Whether entries of -inf count as zeros.
        """


def _shown(x: Tensor, hides: bool) -> Tensor:
    """The tensor as rows: masked entries are zeros, and one number per sample is a row."""
    x = F.threshold(x, _MASKED, 0.0) if hides else x
    return x.unsqueeze(-1) if x.ndim < 3 else x


class TracedRows(RowPass):
    """Plain operations on rows, which a compiler fuses into one loop."""

    def reduce(self, x: Tensor, parts: frozenset[str], hides: bool = False) -> dict[str, Tensor]:
        """Computes the requested parts of a tensor (W, …, D)."""
        x = _shown(x, hides)
        found = {}
        if "norms" in parts:
            found["norms"] = x.square().sum(-1).sqrt()
        if "total" in parts:
            found["total"] = x.sum(-1)
        if "largest" in parts:
            found["largest"] = x.abs().amax(-1)
        if "zeros" in parts:
            found["zeros"] = (x == 0).to(x.dtype).sum(-1)
        return {name: value.flatten(1) for name, value in found.items()}


class EagerRows(RowPass):
    """The fastest eager torch reduction for each part."""

    def reduce(self, x: Tensor, parts: frozenset[str], hides: bool = False) -> dict[str, Tensor]:
        """Computes the requested parts of a tensor (W, …, D)."""
        x = _shown(x, hides)
        runs, axes = x.shape[0], tuple(range(1, x.ndim))
        found = {}
        if "norms" in parts:
            found["norms"] = torch.linalg.vector_norm(x, dim=-1).flatten(1)
        if "total" in parts:
            found["total"] = x.sum(-1).flatten(1)
        if "largest" in parts:
            found["largest"] = torch.maximum(x.amax(axes), -x.amin(axes)).unsqueeze(1)
        if "zeros" in parts:
            # count_nonzero over axes is three times as slow.
            others = torch.stack([torch.count_nonzero(own) for own in x.unbind(0)])
            found["zeros"] = (x[0].numel() - others).to(x.dtype).reshape(runs, 1)
        return found


class FlatRows(RowPass):
    """Eager reductions for matrices of parameters, with one result per row (m = N)."""

    def reduce(self, x: Tensor, parts: frozenset[str], hides: bool = False) -> dict[str, Tensor]:
        """Computes the requested parts of a tensor (W, …, D)."""
        found = {}
        if "norms" in parts:
            found["norms"] = torch.linalg.vector_norm(x, dim=-1)
        if "total" in parts:
            found["total"] = x.sum(-1)
        if "largest" in parts:
            found["largest"] = torch.maximum(x.amax(-1), -x.amin(-1))
        if "zeros" in parts:
            found["zeros"] = (x == 0).sum(-1).to(x.dtype)
        return {name: value.flatten(1) for name, value in found.items()}


def rows_from(sums: Mapping[str, Tensor], count: Tensor, exact: Tensor | None = None) -> Rows:
    """The :class:`Rows` of several tensors, from sums and extremes; NaN for what is missing.

    Args:
        sums: Any of ``mean_norm``, ``max_norm``, ``min_norm``, ``squares``, ``total``,
            ``largest`` and ``zeros``; each (…,).
        count: The number of entries of each tensor, (…,).
        exact: The variance where it is known more accurately, else NaN; (…,).
    """
    missing = torch.full_like(next(iter(sums.values())), torch.nan)
    # The variance is a difference of two large numbers, so it is computed in double precision.
    wide = torch.float32 if missing.device.type == "mps" else torch.float64
    squares, total = sums.get("squares", missing), sums.get("total", missing)
    mean = total.to(wide) / count
    spread = squares.to(wide) / count - mean.square()
    if exact is not None:
        spread = torch.where(exact.isnan(), spread, exact)
    return Rows(
        mean_norm=sums.get("mean_norm", missing),
        max_norm=sums.get("max_norm", missing),
        min_norm=sums.get("min_norm", missing),
        rms=(squares / count).sqrt(),
        mean=mean,
        std=spread.clamp(min=0).sqrt(),
        largest=sums.get("largest", missing),
        zeros=sums.get("zeros", missing) / count,
    )


PARTS_OF = {
    "mean_norm": ("norms",),
    "max_norm": ("norms",),
    "min_norm": ("norms",),
    "rms": ("norms",),
    "mean": ("total",),
    "std": ("norms", "total"),
    "max_abs": ("largest",),
    "frac_zero": ("zeros",),
}


def parts_for(reducers: Iterable[str]) -> frozenset[str]:
    """The parts that reducers of rows need; all parts for a reducer that is not shipped."""
    return frozenset(part for name in reducers for part in PARTS_OF.get(name, PARTS))
