"""Statistics of activations and their gradients. Axes: W, B, T, P predicted positions, V."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ablab.train.method import Method
from ablab.train.taps import MEAN, Tapped, TapReducer
from ablab.watching.column_buffer import ColumnBuffer
from ablab.watching.columns import Column
from ablab.watching.programs import Programs
from ablab.watching.reducer import Reducer
from ablab.watching.rows import EagerRows, RowPass, parts_for, rows_from
from ablab.watching.sites import Site

ACTIVATIONS = ("activation", "activation_grad")
_MASKED = -3e38  # values below it are -inf, and so masked
_FULL = "full"  # a tensor that is not reduced yet


class SiteStatistics(TapReducer):
    """Reduces each tensor during the pass, while it is still in the processor's cache.

    Args:
        columns: The statistics; families other than ``activation`` and ``activation_grad`` are
            ignored.
        sites: The model's sites.
        predicted: The positions whose token is predicted.
        batch: The number of samples in the complete batch (B).
        row_pass: The implementation of the pass over a tensor.
        method: How gradients are computed. In an eager pass, tensors hold values, and a tensor that
            two successive sites share is reduced once. Where a batch is processed in parts,
            reducers that are not means over samples are applied to the complete tensor at the end.
        compiles: Whether the reductions of each tensor are compiled, in an eager pass.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        sites: Mapping[str, Site],
        predicted: slice,
        batch: int,
        row_pass: RowPass,
        method: Method,
        compiles: bool = False,
    ) -> None:
        self._columns = [each for each in columns if each.place.family in ACTIVATIONS]
        self._sites, self._predicted, self._row_pass = sites, predicted, row_pass
        self._batch, self._eager = batch, not method.compiled
        self._programs = Programs() if compiles and self._eager else None
        self._in_parts = method.samples is not None
        self._reducers: dict[tuple[str, str], list[Reducer]] = {}
        for column in self._columns:
            key = (column.place.family, column.place.name)
            self._reducers.setdefault(key, []).append(column.reducer)
        self._parts = {
            key: parts_for([each.name for each in reducers if each.given == "rows"])
            for key, reducers in self._reducers.items()
        }
        self.sites = frozenset(name for _, name in self._reducers)
        self.gradient_sites = frozenset(
            name for family, name in self._reducers if family == "activation_grad"
        )
        hiding = sorted(name for name, site in sites.items() if site.is_hiding)
        names = [each.name for each in self._columns]
        text = "\n".join([type(row_pass).__name__, *names, "hiding", *hiding])
        self.key = hashlib.sha256(text.encode()).hexdigest()
        self.lasting = all(each.reducer.is_shipped for each in self._columns)
        self._row_reducers = list(
            {
                each.reducer.name: each.reducer
                for each in self._columns
                if each.reducer.given == "rows"
            }.values()
        )
        self._orders: dict[tuple[int, ...], Tensor] = {}
        self._count: Tensor | None = None
        self._last: tuple[Tensor, Any, dict[str, Tensor]] | None = None

    def forward(self, site: str, x: Tensor, targets: Tensor) -> Tapped:
        """Reduces an activation; see :meth:`ablab.train.taps.TapReducer.forward`."""
        return self._reduce("activation", site, x, targets)

    def backward(self, site: str, grad: Tensor, targets: Tensor) -> Tapped:
        """Reduces the gradient of an activation."""
        return self._reduce("activation_grad", site, grad, targets)

    def stay_eager(self) -> None:
        """Stops compiling the reductions of single tensors."""
        if self._programs is not None:
            self._programs, self._row_pass = None, EagerRows()

    def forget(self) -> None:
        """Releases the tensor that was reduced last."""
        self._last = None

    def _reduce(self, family: str, site: str, x: Tensor, targets: Tensor) -> Tapped:
        reducers = self._reducers.get((family, site), [])
        place = f"{family}/{site}"
        tapped: Tapped = {}
        if any(each.given in ("rows", "tensor", "matrices") for each in reducers):
            for name, value in self._reductions(family, site, x).items():
                is_mean = name.startswith(MEAN)
                plain = name.removeprefix(MEAN)
                tapped[f"{MEAN if is_mean else ''}{place}|{plain}"] = value
        for each in reducers:
            if each.given == "answers":
                shown = x[:, :, self._predicted]
                tapped[f"{MEAN}{place}|{each.name}"] = per_run(each.function, shown, targets)
        return tapped

    def _reductions(self, family: str, site: str, x: Tensor) -> dict[str, Tensor]:
        """The reductions that need only the tensor itself, by name of part or reducer."""
        parts = self._parts[family, site]
        others = [
            each for each in self._reducers[family, site] if each.given in ("tensor", "matrices")
        ]
        hides = family == "activation" and self._sites[site].is_hiding
        asked = (parts, tuple(each.name for each in others), hides)
        last = self._last
        if last is not None and last[1] == (asked, x._version) and _same_memory(last[0], x):
            return last[2]

        def reduce(x: Tensor) -> dict[str, Tensor]:
            x = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
            shown = F.threshold(x, _MASKED, 0.0) if hides else x
            shown = shown.unsqueeze(-1) if shown.ndim < 3 else shown  # one number per sample
            found = self._row_pass.reduce(shown, parts) if parts else {}
            for each in others:
                if self._waits(each):
                    found[_FULL] = x.clone() if self._eager else x
                else:
                    found[f"{MEAN}{each.name}"] = _reduced(each, x)
            return found

        if self._programs is None:
            found = reduce(x)
        else:
            define = partial(self._definition, parts, others, hides)
            found = self._programs.run(asked, reduce, x, define)
        if self._eager:
            self._last = (x, (asked, x._version), found)
        return found

    def _definition(
        self, parts: Collection[str], others: Sequence[Reducer], hides: bool
    ) -> str | None:
        """Determines a reduction in any process; None if a user's reducer is part of it."""
        if not all(each.is_shipped for each in others):
            return None
        names = [[each.name, self._waits(each)] for each in others]
        row_pass = type(self._row_pass).__name__
        return json.dumps(["reduction", row_pass, sorted(parts), names, hides, self._eager])

    def _waits(self, reducer: Reducer) -> bool:
        """Whether a reducer must wait until all parts of a batch are processed."""
        return self._in_parts and not reducer.is_mean

    def finish(self, tapped: Mapping[str, Tensor], buffer: ColumnBuffer) -> None:
        """Adds the statistics of a complete batch to a buffer, from its tapped values."""
        places = [f"{family}/{site}" for (family, site), parts in self._parts.items() if parts]
        if places:
            rows = rows_from(self._sums(tapped, places), self._counts(tapped))
            for each in self._row_reducers:
                buffer.add(each.function(rows), [f"{place}/{each.name}" for place in places])
        for (family, site), reducers in self._reducers.items():
            full = tapped.get(f"{family}/{site}|{_FULL}")
            for each in reducers if full is not None else ():
                if each.given in ("tensor", "matrices") and self._waits(each):
                    assert full is not None, "checked above"
                    buffer.add(_reduced(each, full)[:, None], [f"{family}/{site}/{each.name}"])
        means = [name for name in tapped if name.startswith(MEAN)]
        if means:
            names = [name.removeprefix(MEAN).replace("|", "/") for name in means]
            buffer.add(torch.stack([tapped[name] for name in means], dim=1), names)

    def _sums(self, tapped: Mapping[str, Tensor], places: Sequence[str]) -> dict[str, Tensor]:
        """Sums and extremes over rows, each (R, places); places with equally many rows at once."""
        sums: dict[str, Tensor] = {}
        for part, finishes in _FINISHES.items():
            groups: dict[int, list[int]] = {}
            for number, place in enumerate(places):
                value = tapped.get(f"{place}|{part}")
                if value is not None:
                    groups.setdefault(value.shape[1], []).append(number)
            if not groups:
                continue
            found: dict[str, list[Tensor]] = {name: [] for name in finishes}
            for members in groups.values():
                together = torch.stack([tapped[f"{places[n]}|{part}"] for n in members], dim=1)
                for name, finish in finishes.items():
                    found[name].append(finish(together))
            place_of = [number for members in groups.values() for number in members]
            for name, values in found.items():
                sums[name] = self._in_order(torch.cat(values, dim=1), place_of, len(places))
        return sums

    def _in_order(self, values: Tensor, place_of: Sequence[int], count: int) -> Tensor:
        """Values (R, some places) in the order of all places; NaN for places without a value."""
        key = tuple(place_of)
        if key not in self._orders:
            order = [key.index(number) if number in key else len(key) for number in range(count)]
            self._orders[key] = torch.tensor(order, device=values.device)
        if len(key) < count:
            values = torch.cat([values, torch.full_like(values[:, :1], torch.nan)], dim=1)
        return values.index_select(1, self._orders[key])

    def _counts(self, tapped: Mapping[str, Tensor]) -> Tensor:
        """The number of entries at each place."""
        if self._count is None:
            counts = [
                float(self._sites[site].visible * self._batch)
                for (_, site), parts in self._parts.items()
                if parts
            ]
            device = next(iter(tapped.values())).device
            self._count = torch.tensor(counts, device=device)
        return self._count


# How a part (R, G, n) of the pass over a tensor is reduced to (R, G).
_FINISHES: dict[str, dict[str, Callable[[Tensor], Tensor]]] = {
    "norms": {
        "mean_norm": lambda x: x.mean(-1),
        "max_norm": lambda x: x.amax(-1),
        "min_norm": lambda x: x.amin(-1),
        "squares": lambda x: x.square().sum(-1),
    },
    "total": {"total": lambda x: x.sum(-1)},
    "largest": {"largest": lambda x: x.amax(-1)},
    "zeros": {"zeros": lambda x: x.sum(-1)},
}


def _reduced(reducer: Reducer, x: Tensor) -> Tensor:
    """Applies a reducer to a site's tensor (W, B, …); one value per run, (W,)."""
    if reducer.given == "matrices":
        values: Tensor = reducer.function(x.flatten(1, -2))
        return values
    return per_run(reducer.function, x)


def per_run(function: object, x: Tensor, *others: Tensor) -> Tensor:
    """Applies a function of one run's tensors to every run; (W,)."""
    assert callable(function), "a reducer's function"
    if x.shape[0] == 1:
        result: Tensor = function(x[0], *(other[0] for other in others))
        return result.reshape(1)
    stacked: Tensor = torch.vmap(function)(x, *others)
    return stacked


def _same_memory(a: Tensor, b: Tensor) -> bool:
    return (
        a.data_ptr() == b.data_ptr()
        and a.shape == b.shape
        and a.stride() == b.stride()
        and a.dtype == b.dtype
    )
