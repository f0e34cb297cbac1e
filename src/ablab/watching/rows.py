"""One pass over a tensor, shared by all reducers that need no more. Axes: W runs, N rows, D, m.

A row is the last axis. Of a tensor (W, …, D) are kept, as far as they are asked for, ``norms`` (W,
N), and sums of parts, however many there are of them: ``total`` (W, m), ``largest`` (W, m) and
``zeros`` (W, m).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ablab.watching.reducer import Rows

PARTS = ("norms", "total", "largest", "zeros")


class RowPass(ABC):
    """A way to make the pass; all agree up to rounding."""

    @abstractmethod
    def take(self, x: Tensor, parts: frozenset[str]) -> dict[str, Tensor]:
        """What is kept of a tensor (W, …, D)."""


class TracedRows(RowPass):
    """Plain operations row by row, which a compiler makes one loop of."""

    def take(self, x: Tensor, parts: frozenset[str]) -> dict[str, Tensor]:
        """What is kept of a tensor (W, …, D)."""
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
    """One of torch's own reductions for each part, those that run fastest one by one."""

    def take(self, x: Tensor, parts: frozenset[str]) -> dict[str, Tensor]:
        """What is kept of a tensor (W, …, D)."""
        runs, axes = x.shape[0], tuple(range(1, x.ndim))
        found = {}
        if "norms" in parts:
            found["norms"] = torch.linalg.vector_norm(x, dim=-1).flatten(1)
        if "total" in parts:
            found["total"] = x.sum(-1).flatten(1)
        if "largest" in parts:
            found["largest"] = torch.maximum(x.amax(axes), -x.amin(axes)).unsqueeze(1)
        if "zeros" in parts:
            # By axes it is three times as slow.
            others = torch.stack([torch.count_nonzero(own) for own in x.unbind(0)])
            found["zeros"] = (x[0].numel() - others).to(x.dtype).reshape(runs, 1)
        return found


class FlatRows(RowPass):
    """The same for matrices of parameters, of which each row is wanted by itself."""

    def take(self, x: Tensor, parts: frozenset[str]) -> dict[str, Tensor]:
        """What is kept of a tensor (W, …, D)."""
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
    """What reducers read, from sums and extremes over rows; NaN for what is missing.

    Args:
        sums: By name ``mean_norm``, ``max_norm``, ``min_norm``, ``squares``, ``total``,
            ``largest`` and ``zeros``, as far as they are known; each (…,).
        count: Entries of each tensor, (…,).
        exact: The mean squared distance from the mean where it is known better, else NaN; (…,).
    """
    missing = torch.full_like(next(iter(sums.values())), torch.nan)
    # A difference of two large numbers; these are few, so they may be taken wide.
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
    """The parts that reducers of rows need; all of them for one that is not shipped."""
    return frozenset(part for name in reducers for part in PARTS_OF.get(name, PARTS))
