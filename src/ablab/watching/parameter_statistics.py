"""Statistics of parameters, gradients and optimizer state, from flat rows. Axes: R, P, G."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ablab.train.parameter_layout import ParameterLayout
from ablab.watching.column_buffer import ColumnBuffer
from ablab.watching.columns import Column
from ablab.watching.names import MODEL
from ablab.watching.parameter_rows import ParameterRows
from ablab.watching.reducer import Products, Reducer
from ablab.watching.rows import parts_for
from ablab.watching.site_statistics import per_run

_PRODUCTS = ("before", "change", "own", "previous", "dot")


class ParameterStatistics:
    """The statistics of the families ``param``, ``grad`` and ``optimizer``.

    Args:
        columns: The statistics to compute.
        layout: The positions of the parameters in a flat row.
        samples: The number of samples in a batch.
        parameter_rows: The pass over the rows of parameters.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        layout: ParameterLayout,
        samples: int,
        parameter_rows: ParameterRows,
    ) -> None:
        self._layout, self._samples, self._parameter_rows = layout, samples, parameter_rows
        by_rows = [each for each in columns if each.reducer.given == "rows"]
        self._parts = parts_for([each.reducer.name for each in by_rows])
        self._tensors = list(dict.fromkeys(_tensor_of(each) for each in by_rows))
        self._row_reducers = _distinct(by_rows)
        self._of_tensors = _by_shape(columns)
        self._starts = dict(zip(layout.names, layout.starts, strict=True))
        self._of_products = _distinct(
            [each for each in columns if each.reducer.given in ("update", "gradients")]
        )
        self.needs_update = any(each.given == "update" for each in self._of_products)
        self.needs_previous = any(each.given == "gradients" for each in self._of_products)
        self.needs_grad = self.needs_previous or any(
            each.place.family == "grad" for each in columns
        )

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
        if self._tensors:
            self._by_rows([tensors[name] for name in self._tensors], buffer)
        self._by_tensor(tensors, buffer)
        if self._of_products:
            self._by_products(tensors, before, previous, buffer)

    def _by_rows(self, tensors: Sequence[Tensor], buffer: ColumnBuffer) -> None:
        rows = self._parameter_rows.rows(tensors, self._parts)
        for reducer in self._row_reducers:
            names = [
                f"{tensor}/{parameter}/{reducer.name}"
                for tensor in (() if buffer.is_known else self._tensors)
                for parameter in self._layout.names
            ]
            buffer.add(reducer.of_numbers(rows).flatten(1), names)

    def _by_tensor(self, tensors: Mapping[str, Tensor], buffer: ColumnBuffer) -> None:
        """Reducers of complete tensors, one call for all tensors of equal shape."""
        for reducer, members in self._of_tensors:
            shape = members[0].place.shape
            own = []
            for column in members:
                flat = tensors[_tensor_of(column)]
                start = self._starts[_parameter_of(column)]
                own.append(flat.narrow(1, start, math.prod(shape)))
            stacked = torch.stack(own, dim=1).reshape(-1, len(own), *shape)  # (R, G, …)
            if reducer.given == "matrices":
                values = reducer.function(stacked)
            else:
                values = per_run(reducer.function, stacked.flatten(0, 1))
                values = values.reshape(stacked.shape[:2])
            buffer.add(values, [column.name for column in members])

    def _by_products(
        self,
        tensors: Mapping[str, Tensor],
        before: Tensor | None,
        previous: Tensor | None,
        buffer: ColumnBuffer,
    ) -> None:
        """Reducers of two steps, for each parameter and for all together."""
        squared: dict[str, Tensor] = {}
        if before is not None:
            squared |= {"before": before, "change": tensors["param"] - before}
        if self.needs_previous:
            squared["own"] = tensors["grad"]
        if previous is not None:
            squared["previous"] = previous
        param = tensors["param"]
        sums: dict[str, Tensor] = {}
        if squared:
            found = self._parameter_rows.squares(list(squared.values()))
            sums = dict(zip(squared, found.unbind(1), strict=True))
        if previous is not None:
            sums["dot"] = self._parameter_rows.dot(tensors["grad"], previous)
        unknown = torch.full(
            (param.shape[0], len(self._layout.names)), torch.nan, device=param.device
        )
        sums = {name: sums.get(name, unknown) for name in _PRODUCTS}
        sums = {
            name: torch.cat([each, each.sum(-1, keepdim=True)], dim=-1)
            for name, each in sums.items()
        }
        products = Products(**sums, samples=self._samples)
        for reducer in self._of_products:
            (family,) = reducer.families
            names = [f"{family}/{name}/{reducer.name}" for name in [*self._layout.names, MODEL]]
            buffer.add(reducer.of_numbers(products), names)


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
