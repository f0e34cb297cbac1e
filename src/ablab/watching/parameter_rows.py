"""Passes over the rows of parameters, which lie one after another in flat rows.

Axes: R runs, P entries of all parameters, F tensors, G parameters.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from ablab.train.parameter_layout import ParameterLayout
from ablab.watching.native_rows import SUMS, MatrixJobs, Reduce, finished_sums
from ablab.watching.reducer import Rows
from ablab.watching.rows import FlatRows, rows_from

_SMALL, _SCALE = 2.0**-20, 2.0**60


class ParameterRows(ABC):
    """A pass over the rows of parameters; all implementations agree up to rounding."""

    @abstractmethod
    def rows(self, tensors: Sequence[Tensor], parts: frozenset[str]) -> Rows:
        """The rows of each parameter in each tensor (R, P); each (R, F, G).

        Args:
            tensors: The tensors.
            parts: What is needed of the rows; see :mod:`ablab.watching.rows`.
        """

    @abstractmethod
    def squares(self, tensors: Sequence[Tensor]) -> Tensor:
        """The sum of squares of each parameter in each tensor (R, P); (R, F, G)."""

    @abstractmethod
    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        """The dot product of each parameter in two tensors (R, P); (R, G)."""


class NativeParameterRows(ParameterRows):
    """One call of the native function, with sums in double precision."""

    def __init__(self, layout: ParameterLayout, reduce: Reduce) -> None:
        self._reduce = reduce
        widths = [_width(shape) for shape in layout.shapes]
        rows = [
            shape.numel() // max(1, width)
            for shape, width in zip(layout.shapes, widths, strict=True)
        ]
        self._jobs = MatrixJobs(layout.starts, rows, widths)
        self._counts = torch.tensor([float(shape.numel()) for shape in layout.shapes])

    def _sums(self, tensors: Sequence[Tensor]) -> Tensor:
        """The sums of each parameter in each tensor, (R, F, G, 9)."""
        runs, entries = tensors[0].shape
        given = [each.to(torch.float32).contiguous() for each in tensors]
        jobs = self._jobs.of([each.data_ptr() for each in given], entries)
        found = self._reduce(jobs.ctypes.data, len(jobs), runs)
        return found.reshape(runs, len(given), -1, len(SUMS))

    def rows(self, tensors: Sequence[Tensor], parts: frozenset[str]) -> Rows:
        """The rows of each parameter in each tensor."""
        return rows_from(finished_sums(self._sums(tensors).unsqueeze(-2)), self._counts)

    def squares(self, tensors: Sequence[Tensor]) -> Tensor:
        """The sum of squares of each parameter in each tensor."""
        return self._sums(tensors)[..., SUMS.index("squares")]

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        """The dot product of each parameter in two tensors."""
        a, b = (each.to(torch.float32).contiguous() for each in (a, b))
        jobs = self._jobs.of_products(a.data_ptr(), b.data_ptr(), a.shape[1])
        found = self._reduce(jobs.ctypes.data, len(jobs), a.shape[0])
        return found[..., SUMS.index("total")]


class TorchParameterRows(ParameterRows):
    """torch's operations, on any device.

    Neighbouring parameters with last axes of equal length form a band, which is one matrix. So a
    pass takes a few operations, however many parameters there are.
    """

    def __init__(self, layout: ParameterLayout, device: torch.device) -> None:
        self._bands, self._constants = _bands(layout), _constants(layout, device)

    def rows(self, tensors: Sequence[Tensor], parts: frozenset[str]) -> Rows:
        """The rows of each parameter in each tensor."""
        stacked, scales = _scaled(torch.stack(list(tensors), dim=1))
        flat, constants = stacked.flatten(0, 1), self._constants
        found: dict[str, list[Tensor]] = {part: [] for part in sorted(parts)}
        for band in self._bands:
            for part, value in FlatRows().reduce(band.of(flat), parts).items():
                found[part].append(value)
        arrays = {part: torch.cat(values, dim=1) for part, values in found.items()}
        sums = {
            name: value.reshape(*stacked.shape[:2], -1)
            for name, value in _sums(arrays, constants).items()
        }
        exact = self._spreads(stacked) if "total" in arrays else None
        return rows_from(sums, constants.counts, exact).over(scales)

    def _spreads(self, flat: Tensor) -> Tensor:
        """The variance of parameters with a single row, from their entries; NaN for the others."""
        shape = (*flat.shape[:-1], len(self._constants.counts))
        spreads = torch.full(shape, torch.nan, device=flat.device, dtype=flat.dtype)
        for numbers, entries in self._constants.vectors:
            spreads = spreads.index_copy(-1, numbers, flat[..., entries].var(-1, correction=0))
        return spreads

    def squares(self, tensors: Sequence[Tensor]) -> Tensor:
        """The sum of squares of each parameter in each tensor."""
        x = torch.stack(list(tensors), dim=1)
        norms = [torch.linalg.vector_norm(band.of(x), dim=-1) for band in self._bands]
        return _summed(torch.cat(norms, dim=-1).square(), self._constants)

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        """The dot product of each parameter in two tensors."""
        rows = [(band.of(a) * band.of(b)).sum(-1) for band in self._bands]
        return _summed(torch.cat(rows, dim=-1), self._constants)


def _scaled(x: Tensor) -> tuple[Tensor, Tensor]:
    """Tensors (R, F, P), those with small entries scaled up, and the scale of each, (R, F, 1).

    An average of squared gradients may be so small that its squares would underflow to zero.
    """
    small = x.abs().amax(-1, keepdim=True) < _SMALL
    scales = torch.where(small, torch.full_like(x[..., :1], _SCALE), torch.ones_like(x[..., :1]))
    return x * scales, scales


class _Constants(NamedTuple):
    """The positions and sizes of the parameters, as tensors.

    Attributes:
        owners: The index of the parameter that each row belongs to, (rows,).
        n_rows: The number of rows of each parameter, (G,).
        counts: The number of entries of each parameter, (G,).
        vectors: For each width, the indices of the parameters with a single row, and the
            positions of their entries.
    """

    owners: Tensor
    n_rows: Tensor
    counts: Tensor
    vectors: list[tuple[Tensor, Tensor]]


def _sums(arrays: dict[str, Tensor], constants: _Constants) -> dict[str, Tensor]:
    """Sums and extremes over each parameter's rows, (…, rows) to (…, G)."""
    sums: dict[str, Tensor] = {}
    if "norms" in arrays:
        norms = arrays["norms"]
        sums["mean_norm"] = _summed(norms, constants) / constants.n_rows
        sums["squares"] = _summed(norms.square(), constants)
        sums["max_norm"] = _extreme(norms, "amax", constants)
        sums["min_norm"] = _extreme(norms, "amin", constants)
    if "total" in arrays:
        sums["total"] = _summed(arrays["total"], constants)
    if "largest" in arrays:
        sums["largest"] = _extreme(arrays["largest"], "amax", constants)
    if "zeros" in arrays:
        sums["zeros"] = _summed(arrays["zeros"], constants)
    return sums


def _summed(rows: Tensor, constants: _Constants) -> Tensor:
    sums = rows.new_zeros(*rows.shape[:-1], len(constants.counts))
    return sums.index_add(-1, constants.owners, rows)


def _extreme(rows: Tensor, which: str, constants: _Constants) -> Tensor:
    owners = constants.owners.expand(rows.shape)
    empty = rows.new_zeros(*rows.shape[:-1], len(constants.counts))
    return empty.scatter_reduce(-1, owners, rows, which, include_self=False)


@dataclass(frozen=True)
class _Band:
    start: int
    rows: int
    width: int

    def of(self, flat: Tensor) -> Tensor:
        """The band within flat rows (…, P), as (…, rows, width)."""
        part = flat.narrow(-1, self.start, self.rows * self.width)
        return part.reshape(*flat.shape[:-1], self.rows, self.width)


def _bands(layout: ParameterLayout) -> list[_Band]:
    bands, start = [], 0
    for width, together in groupby(layout.shapes, key=_width):
        rows = sum(shape.numel() // width for shape in together)
        bands.append(_Band(start, rows, width))
        start += rows * width
    return bands


def _width(shape: torch.Size) -> int:
    return shape[-1] if len(shape) else 1


def _constants(layout: ParameterLayout, device: torch.device) -> _Constants:
    n_rows = [shape.numel() // _width(shape) for shape in layout.shapes]
    counts = [float(shape.numel()) for shape in layout.shapes]
    owners = [number for number, rows in enumerate(n_rows) for _ in range(rows)]
    groups: dict[int, list[tuple[int, int]]] = {}
    for number, (shape, start) in enumerate(zip(layout.shapes, layout.starts, strict=True)):
        if len(shape) < 2:
            groups.setdefault(shape.numel(), []).append((number, start))
    vectors = [
        (
            torch.tensor([number for number, _ in members], device=device),
            torch.tensor([first for _, first in members], device=device)[:, None]
            + torch.arange(width, device=device),
        )
        for width, members in groups.items()
    ]
    return _Constants(
        torch.tensor(owners, device=device),
        torch.tensor([float(rows) for rows in n_rows], device=device),
        torch.tensor(counts, device=device),
        vectors,
    )
