"""Statistics of parameters, gradients and optimizer state, from flat rows. Axes: F, R, P, D, G, n.

A flat row holds one tensor after another. Tensors in a row that have an equal last axis make a band,
which is one matrix; so a pass needs a few operations however many tensors there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from ablab.train.layout import Layout
from ablab.watching.columns import Column
from ablab.watching.names import MODEL
from ablab.watching.reader import per_run
from ablab.watching.reducer import Products, Reducer
from ablab.watching.rows import CompiledRows, RowPass, TracedRows, parts_for, rows_from
from ablab.watching.sheet import Sheet


class FlatStatistics:
    """The statistics of the families ``param``, ``grad`` and ``optimizer``.

    Args:
        columns: Those wanted.
        layout: Where parameters lie in a flat row.
        samples: Samples of a batch.
        row_pass: How passes are made.
        device: Where tensors are.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        layout: Layout,
        samples: int,
        row_pass: RowPass,
        device: torch.device,
    ) -> None:
        self._layout, self._samples, self._device = layout, samples, device
        self._bands, self._groups = _bands(layout, device)
        owners = [number for group in self._groups for number in group.owners()]
        rows = torch.cat([group.index.reshape(-1) for group in self._groups])
        self._owners = torch.tensor(owners, device=device)[rows.argsort()]
        self._pass = row_pass if isinstance(row_pass, CompiledRows) else TracedRows()
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

    def take(
        self,
        tensors: Mapping[str, Tensor],
        before: Tensor | None,
        previous: Tensor | None,
        sheet: Sheet,
    ) -> None:
        """Puts the statistics on a sheet.

        Args:
            tensors: ``param``, ``grad`` and ``optimizer/SLOT``, each (R, P).
            before: The parameters before the update.
            previous: The gradient of the step before; None where it is not known.
            sheet: Where they are put.
        """
        if self._tensors:
            self._by_rows(tensors, sheet)
        self._by_tensor(tensors, sheet)
        if self._of_products:
            self._by_products(tensors, before, previous, sheet)

    def _by_rows(self, tensors: Mapping[str, Tensor], sheet: Sheet) -> None:
        stacked = torch.stack([tensors[name] for name in self._tensors], dim=1)  # (R, F, P)
        shape = stacked.shape[:2]
        flat = stacked.flatten(0, 1)
        found: dict[str, list[Tensor]] = {part: [] for part in sorted(self._parts)}
        for band in self._bands:
            for part, value in self._pass.take(band.of(flat), self._parts).items():
                found[part].append(value)
        arrays = {part: torch.cat(values, dim=1) for part, values in found.items()}
        for group in self._groups:
            parts = {part: array[:, group.index] for part, array in arrays.items()}  # (R F, G, n)
            exact = self._spreads(group, flat) if group.are_vectors and "total" in parts else None
            rows = rows_from(parts, group.count, exact)
            for reducer in self._row_reducers:
                values = reducer.function(rows).unflatten(0, shape).flatten(1)  # (R, F G)
                names = [
                    f"{tensor}/{self._layout.names[number]}/{reducer.name}"
                    for tensor in self._tensors
                    for number in group.members
                ]
                sheet.add(values, [] if sheet.is_known else names)

    def _spreads(self, group: "_Group", flat: Tensor) -> Tensor:
        """The variance of parameters that are one row, from the entries themselves; (R F, G)."""
        starts, size = self._starts(), self._layout.shapes
        return torch.stack(
            [
                flat.narrow(1, starts[number], size[number].numel())
                .double()
                .var(-1, correction=0)
                for number in group.members
            ],
            dim=1,
        )

    def _starts(self) -> list[int]:
        """Where each parameter begins in a flat row."""
        starts, start = [], 0
        for shape in self._layout.shapes:
            starts.append(start)
            start += shape.numel()
        return starts

    def _by_tensor(self, tensors: Mapping[str, Tensor], sheet: Sheet) -> None:
        """Reducers of whole tensors; those of equal shape at once."""
        views: dict[str, dict[str, Tensor]] = {}
        for reducer, members in self._of_tensors:
            own = []
            for column in members:
                tensor = _tensor_of(column)
                if tensor not in views:
                    views[tensor] = self._layout.views(tensors[tensor])
                own.append(views[tensor][_parameter_of(column)])
            stacked = torch.stack(own, dim=1)  # (R, G, …)
            values = per_run(reducer.function, stacked.flatten(0, 1))
            sheet.add(
                values.unflatten(0, stacked.shape[:2]), [column.name for column in members]
            )

    def _by_products(
        self,
        tensors: Mapping[str, Tensor],
        before: Tensor | None,
        previous: Tensor | None,
        sheet: Sheet,
    ) -> None:
        unknown = torch.full_like(tensors["param"], torch.nan)
        factors = [(unknown, unknown)] * 5
        if before is not None:
            change = tensors["param"] - before
            factors[:2] = [(before, before), (change, change)]
        if previous is not None:
            grad = tensors["grad"]
            factors[2:] = [(grad, grad), (previous, previous), (grad, previous)]
        sums = [self._sums(a, b) for a, b in factors]  # each (R, parameters and all)
        products = Products(*sums, samples=self._samples)
        names = [*self._layout.names, MODEL]
        for reducer in self._of_products:
            (family,) = reducer.families
            named = [f"{family}/{name}/{reducer.name}" for name in names]
            sheet.add(reducer.function(products), named)

    def _sums(self, a: Tensor, b: Tensor) -> Tensor:
        """Σ a b over each parameter's entries and over all, (R, P) to (R, parameters + 1)."""
        rows = torch.cat(
            [torch.linalg.vecdot(band.of(a), band.of(b)) for band in self._bands], dim=-1
        )
        sums = torch.zeros(a.shape[0], len(self._layout.names), device=a.device, dtype=a.dtype)
        sums.index_add_(1, self._owners, rows)
        return torch.cat([sums, sums.sum(-1, keepdim=True)], dim=-1)


@dataclass(frozen=True)
class _Band:
    start: int
    rows: int
    width: int

    def of(self, flat: Tensor) -> Tensor:
        """Its part of flat rows (…, P), as (…, rows, width)."""
        part = flat.narrow(-1, self.start, self.rows * self.width)
        return part.unflatten(-1, (self.rows, self.width))


@dataclass(frozen=True)
class _Group:
    """Parameters with equally many rows (G of n).

    Attributes:
        members: Their numbers.
        index: The number of each of their rows, (G, n).
        count: How many entries each has, (G,).
        are_vectors: Whether each is one row.
    """

    members: tuple[int, ...]
    index: Tensor
    count: Tensor
    are_vectors: bool

    def owners(self) -> list[int]:
        """The parameter of each row of ``index``."""
        return [number for number in self.members for _ in range(self.index.shape[1])]


def _bands(layout: Layout, device: torch.device) -> tuple[list[_Band], list[_Group]]:
    widths = [shape[-1] if len(shape) else 1 for shape in layout.shapes]
    n_rows = [shape.numel() // width for shape, width in zip(layout.shapes, widths, strict=True)]
    bands, start = [], 0
    for width, together in groupby(range(len(widths)), key=widths.__getitem__):
        rows = sum(n_rows[number] for number in together)
        bands.append(_Band(start, rows, width))
        start += rows * width
    groups = []
    for n in sorted(set(n_rows)):
        members = [number for number, rows in enumerate(n_rows) if rows == n]
        first = [sum(n_rows[:number]) for number in members]
        index = torch.tensor(first)[:, None] + torch.arange(n)
        count = torch.tensor([float(layout.shapes[number].numel()) for number in members])
        groups.append(_Group(tuple(members), index.to(device), count.to(device), n == 1))
    return bands, groups


def _distinct(columns: Sequence[Column]) -> list[Reducer]:
    return list({each.reducer.name: each.reducer for each in columns}.values())


def _by_shape(columns: Sequence[Column]) -> list[tuple[Reducer, list[Column]]]:
    """The columns of whole tensors, by reducer and shape."""
    groups: dict[tuple[str, tuple[int, ...]], list[Column]] = {}
    for column in columns:
        if column.reducer.given == "tensor":
            key = (column.reducer.name, column.place.shape)
            groups.setdefault(key, []).append(column)
    return [(members[0].reducer, members) for members in groups.values()]


def _tensor_of(column: Column) -> str:
    """``param``, ``grad`` or ``optimizer/SLOT``."""
    place = column.place
    return f"optimizer/{place.name.split('/')[0]}" if place.family == "optimizer" else place.family


def _parameter_of(column: Column) -> str:
    return column.place.name.rpartition("/")[2]
