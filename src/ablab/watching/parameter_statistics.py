"""Statistics of parameters, gradients and optimizer state, from flat rows. Axes: F, R, P, D, G, n.

A flat row holds one tensor after another. Neighbouring tensors with last axes of equal length form
a band, which is one matrix. So a pass takes a few operations, however many tensors there are.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ablab.train.compiling import CompileError, Program, compile_program, load_program
from ablab.train.parameter_layout import ParameterLayout
from ablab.watching.column_buffer import ColumnBuffer
from ablab.watching.columns import Column
from ablab.watching.names import MODEL
from ablab.watching.reducer import Products, Reducer
from ablab.watching.rows import FlatRows, TracedRows, parts_for, rows_from
from ablab.watching.site_statistics import per_run

_SMALL, _SCALE = 2.0**-20, 2.0**60
_PRODUCTS = ("before", "change", "own", "previous", "dot")


class ParameterStatistics:
    """The statistics of the families ``param``, ``grad`` and ``optimizer``.

    Args:
        columns: The statistics to compute.
        layout: The positions of the parameters in a flat row.
        samples: The number of samples in a batch.
        compiles: Whether all statistics are computed by one compiled program.
        device: The device of the tensors.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        layout: ParameterLayout,
        samples: int,
        compiles: bool,
        device: torch.device,
    ) -> None:
        self._layout, self._samples = layout, samples
        self._bands, self._constants = _bands(layout), _constants(layout, device)
        self._compiles = compiles
        self._columns = columns
        self._program: tuple[Any, Program, list[str]] | None = None
        by_rows = [each for each in columns if each.reducer.given == "rows"]
        self._parts = parts_for([each.reducer.name for each in by_rows])
        self._tensors = list(dict.fromkeys(_tensor_of(each) for each in by_rows))
        self._row_reducers = _distinct(by_rows)
        self._of_tensors = _by_shape(columns)
        self._of_products = _distinct(
            [each for each in columns if each.reducer.given in ("update", "gradients")]
        )
        self.needs_update = any(each.given == "update" for each in self._of_products)
        self.needs_previous = any(each.given == "gradients" for each in self._of_products)
        self.needs_grad = self.needs_previous or any(
            each.place.family == "grad" for each in columns
        )

    def stay_eager(self) -> None:
        """Stops compiling; statistics are computed eagerly from now on."""
        self._compiles = False

    def compute(
        self,
        tensors: Mapping[str, Tensor],
        before: Tensor | None,
        previous: Tensor | None,
        buffer: ColumnBuffer,
    ) -> None:
        """Computes the statistics and adds them to a buffer.

        Args:
            tensors: ``param``, ``grad`` and ``optimizer/SLOT``, each (R, P).
            before: The parameters before the update, (R, P), or None.
            previous: The gradient of the previous step, (R, P), or None if unknown.
            buffer: Receives the statistics.
        """
        # Unknown tensors are filled with NaN, so that one program serves all steps.
        unknown = torch.full_like(tensors["param"], torch.nan)
        inputs = dict(tensors) | {
            "before": unknown if before is None else before,
            "previous": unknown if previous is None else previous,
        }
        inputs.setdefault("grad", unknown)
        if not self._compiles:
            buffer.add(*self._all(inputs, self._constants))
            return
        names, values = list(inputs), [*inputs.values(), *self._constants.tensors]
        key = tuple((name, value.shape) for name, value in inputs.items())
        if self._program is None or self._program[0] != key:

            def function(*given: Tensor) -> dict[str, Tensor]:
                own = dict(zip(names, given, strict=False))
                return {"block": self._all(own, self._constants.of(given[len(names) :]))[0]}

            try:
                _, columns = self._all(inputs, self._constants)  # for their names alone
                definition = self._definition(names)
                program = load_program(definition, values)
                program = program or compile_program(function, values, definition)
                self._program = key, program, columns
            except CompileError:
                self._compiles = False
                buffer.add(*self._all(inputs, self._constants))
                return
        _, program, columns = self._program
        buffer.add(program(values)["block"], columns)

    def _definition(self, inputs: Sequence[str]) -> str | None:
        """Determines the program in any process; None if a user's reducer is part of it."""
        if not all(column.reducer.is_shipped for column in self._columns):
            return None
        columns = [column.name for column in self._columns]
        shapes = [list(shape) for shape in self._layout.shapes]
        parts = [columns, self._layout.names, shapes, self._samples, inputs]
        return json.dumps(["parameter statistics", *parts])

    def _all(
        self, tensors: Mapping[str, Tensor], constants: "_Constants"
    ) -> tuple[Tensor, list[str]]:
        """All statistics, (R, K), and their names; uses tensors only, so it can be traced."""
        values: list[Tensor] = []
        names: list[str] = []
        for found, named in (
            self._by_rows(tensors, constants),
            self._by_tensor(tensors),
            self._by_products(tensors, constants),
        ):
            values += [each.to(torch.float32) for each in found]
            names += named
        return torch.cat(values, dim=1), names

    def _by_rows(
        self, tensors: Mapping[str, Tensor], constants: "_Constants"
    ) -> tuple[list[Tensor], list[str]]:
        if not self._tensors:
            return [], []
        stacked, scales = self._stacked(tensors)
        shape = stacked.shape[:2]
        flat = stacked.flatten(0, 1)
        row_pass = TracedRows() if self._compiles else FlatRows()
        found: dict[str, list[Tensor]] = {part: [] for part in sorted(self._parts)}
        for band in self._bands:
            for part, value in row_pass.reduce(band.of(flat), self._parts).items():
                found[part].append(value)
        arrays = {part: torch.cat(values, dim=1) for part, values in found.items()}  # (R F, rows)
        exact = None
        if "total" in arrays:
            exact = self._spreads(flat, constants)
        rows = rows_from(_sums(arrays, constants), constants.counts, exact)
        rows = rows.over(scales.flatten().unsqueeze(-1))
        values, names = [], []
        for reducer in self._row_reducers:
            values.append(reducer.function(rows).unflatten(0, shape).flatten(1))  # (R, F G)
            names += [
                f"{tensor}/{parameter}/{reducer.name}"
                for tensor in self._tensors
                for parameter in self._layout.names
            ]
        return values, names

    def _stacked(self, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The tensors that are reduced by rows, (R, F, P), and the scale of each, (R, F).

        Small optimizer state is scaled up: an average of squared gradients may be so small that
        its squares would underflow to zero.
        """
        found, scales = [], []
        for name in self._tensors:
            x = tensors[name]
            scale = torch.ones_like(x[:, 0])
            if name.startswith("optimizer/"):
                small = x.abs().amax(1) < _SMALL
                scale = torch.where(small, torch.full_like(scale, _SCALE), scale)
                x = x * scale.unsqueeze(-1)
            found.append(x)
            scales.append(scale)
        return torch.stack(found, dim=1), torch.stack(scales, dim=1)

    def _spreads(self, flat: Tensor, constants: "_Constants") -> Tensor:
        """The variance of parameters with a single row, from their entries; NaN for the others."""
        shape = (flat.shape[0], len(self._layout.names))
        spreads = torch.full(shape, torch.nan, device=flat.device, dtype=flat.dtype)
        for numbers, entries in constants.vectors:
            spreads = spreads.index_copy(1, numbers, flat[:, entries].var(-1, correction=0))
        return spreads

    def _by_tensor(self, tensors: Mapping[str, Tensor]) -> tuple[list[Tensor], list[str]]:
        """Reducers of complete tensors, one call for all tensors of equal shape."""
        views: dict[str, dict[str, Tensor]] = {}
        found, names = [], []
        for reducer, members in self._of_tensors:
            own = []
            for column in members:
                tensor = _tensor_of(column)
                if tensor not in views:
                    views[tensor] = self._layout.views(tensors[tensor])
                own.append(views[tensor][_parameter_of(column)])
            stacked = torch.stack(own, dim=1)  # (R, G, …)
            if reducer.given == "matrices":
                values = reducer.function(stacked)
            else:
                values = per_run(reducer.function, stacked.flatten(0, 1))
                values = values.reshape(stacked.shape[:2])
            found.append(values)
            names += [column.name for column in members]
        return found, names

    def _by_products(
        self, tensors: Mapping[str, Tensor], constants: "_Constants"
    ) -> tuple[list[Tensor], list[str]]:
        if not self._of_products:
            return [], []
        before, grad, previous = (tensors[name] for name in ("before", "grad", "previous"))
        squares = (
            {"before": before, "change": tensors["param"] - before} if self.needs_update else {}
        )
        squares |= {"own": grad, "previous": previous} if self.needs_previous else {}
        sums = {name: self._squares(x, constants) for name, x in squares.items()}
        if self.needs_previous:
            rows = [(band.of(grad) * band.of(previous)).sum(-1) for band in self._bands]
            sums["dot"] = _summed(torch.cat(rows, dim=-1), constants)
        unknown = torch.full_like(next(iter(sums.values())), torch.nan)
        sums = {name: sums.get(name, unknown) for name in _PRODUCTS}  # each (R, parameters)
        sums = {
            name: torch.cat([each, each.sum(-1, keepdim=True)], dim=-1)
            for name, each in sums.items()
        }
        products = Products(**sums, samples=self._samples)
        found, names = [], []
        for reducer in self._of_products:
            (family,) = reducer.families
            found.append(reducer.function(products))
            names += [f"{family}/{name}/{reducer.name}" for name in [*self._layout.names, MODEL]]
        return found, names

    def _squares(self, x: Tensor, constants: "_Constants") -> Tensor:
        """Σ x² over the entries of each parameter, (R, P) to (R, parameters)."""
        norms = [torch.linalg.vector_norm(band.of(x), dim=-1) for band in self._bands]
        return _summed(torch.cat(norms, dim=-1).square(), constants)


class _Constants(NamedTuple):
    """The positions and sizes of the parameters, as tensors.

    Attributes:
        owners: The index of the parameter that each row belongs to, (rows,).
        n_rows: The number of rows of each parameter, (parameters,).
        counts: The number of entries of each parameter, (parameters,).
        vectors: For each width, the indices of the parameters with a single row, and the
            positions of their entries.
    """

    owners: Tensor
    n_rows: Tensor
    counts: Tensor
    vectors: list[tuple[Tensor, Tensor]]

    @property
    def tensors(self) -> list[Tensor]:
        """All of them as a flat list."""
        inner = [tensor for pair in self.vectors for tensor in pair]
        return [self.owners, self.n_rows, self.counts, *inner]

    def of(self, tensors: Sequence[Tensor]) -> "_Constants":
        """Rebuilds the tuple from a flat list of tensors."""
        owners, n_rows, counts, *inner = tensors
        return _Constants(owners, n_rows, counts, list(zip(inner[::2], inner[1::2], strict=True)))


def _sums(arrays: Mapping[str, Tensor], constants: _Constants) -> dict[str, Tensor]:
    """Sums and extremes over each parameter's rows, (…, rows) to (…, parameters)."""
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
    start = 0
    for number, shape in enumerate(layout.shapes):
        if len(shape) < 2:
            groups.setdefault(shape.numel(), []).append((number, start))
        start += shape.numel()
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


def _distinct(columns: Sequence[Column]) -> list[Reducer]:
    return list({each.reducer.name: each.reducer for each in columns}.values())


def _by_shape(columns: Sequence[Column]) -> list[tuple[Reducer, list[Column]]]:
    """The columns whose reducers need complete tensors, grouped by reducer and shape."""
    groups: dict[tuple[str, tuple[int, ...]], list[Column]] = {}
    for column in columns:
        if column.reducer.given in ("tensor", "matrices"):
            key = (column.reducer.name, column.place.shape)
            groups.setdefault(key, []).append(column)
    return [(members[0].reducer, members) for members in groups.values()]


def _tensor_of(column: Column) -> str:
    """``param``, ``grad`` or ``optimizer/SLOT``."""
    place = column.place
    return f"optimizer/{place.name.split('/')[0]}" if place.family == "optimizer" else place.family


def _parameter_of(column: Column) -> str:
    return column.place.name.rpartition("/")[2]
