"""Statistics of activations and their gradients. Axes: W, B, T, P predicted positions, V."""

import hashlib
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ablab.train.method import Method
from ablab.train.taps import MEAN, Tapped, TapReducer
from ablab.watching.column_buffer import ColumnBuffer
from ablab.watching.columns import Column
from ablab.watching.native_rows import Reduce
from ablab.watching.reducer import Reducer
from ablab.watching.rows import RowPass, parts_for, rows_from
from ablab.watching.site_sums import NativeSums, TorchSums
from ablab.watching.sites import Site

ACTIVATIONS = ("activation", "activation_grad")
_FULL = "full"  # a tensor that is not reduced yet
_ANSWERS, _TARGETS = "answers", "targets"  # predictions that are not reduced yet


class SiteStatistics(TapReducer):
    """Reduces each tensor during the pass, while it is still in the processor's cache.

    Args:
        columns: The statistics; families other than ``activation`` and ``activation_grad`` are
            ignored.
        sites: The model's sites.
        predicted: The positions whose token is predicted.
        batch: The number of samples in the complete batch (B).
        row_pass: The implementation of the pass over a tensor.
        native: The native function that finishes what passes give; None for torch's operations.
        method: How gradients are computed. In an eager pass, tensors hold values, and a tensor that
            two successive sites share is reduced once. Where a batch is processed in parts,
            reducers that are not means over samples are applied to the complete tensor at the end.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        sites: Mapping[str, Site],
        predicted: slice,
        batch: int,
        row_pass: RowPass,
        native: Reduce | None,
        method: Method,
    ) -> None:
        self._columns = [each for each in columns if each.place.family in ACTIVATIONS]
        self._sites, self._predicted, self._row_pass = sites, predicted, row_pass
        self._batch, self._eager = batch, not method.compiled
        self._in_parts = method.samples is not None
        self._reducers: dict[tuple[str, str], list[Reducer]] = {}
        for column in self._columns:
            key = (column.place.family, column.place.name)
            self._reducers.setdefault(key, []).append(column.reducer)
        self._plans: dict[tuple[str, str], _Plan] = {}
        for (family, site), reducers in self._reducers.items():
            hides = family == "activation" and sites[site].is_hiding
            self._plans[family, site] = _plan(f"{family}/{site}", reducers, hides, row_pass.also)
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
        places = [plan.place for plan in self._plans.values() if plan.parts]
        self._site_sums = TorchSums(places) if native is None else NativeSums(native, places)
        self._count: Tensor | None = None
        self._last: tuple[Tensor, Any, dict[str, Tensor]] | None = None

    def forward(self, site: str, x: Tensor, targets: Tensor) -> Tapped:
        """Reduces an activation; see :meth:`ablab.train.taps.TapReducer.forward`."""
        return self._reduce("activation", site, x, targets)

    def backward(self, site: str, grad: Tensor, targets: Tensor) -> Tapped:
        """Reduces the gradient of an activation."""
        return self._reduce("activation_grad", site, grad, targets)

    def forget(self) -> None:
        """Releases the tensor that was reduced last."""
        self._last = None

    def _reduce(self, family: str, site: str, x: Tensor, targets: Tensor) -> Tapped:
        plan = self._plans.get((family, site))
        if plan is None:
            return {}
        tapped: Tapped = {}
        if plan.parts or plan.others:
            found = self._reductions(plan, x)
            tapped = {plan.names.get(name) or plan.name(name): found[name] for name in found}
        for each in plan.answers:
            shown = x[:, :, self._predicted]
            if self._waits(each):
                tapped[plan.name(_ANSWERS)] = shown.clone() if self._eager else shown
                tapped[plan.name(_TARGETS)] = targets
            else:
                tapped[plan.name(f"{MEAN}{each.name}")] = per_run(each.function, shown, targets)
        return tapped

    def _reductions(self, plan: "_Plan", x: Tensor) -> dict[str, Tensor]:
        """The reductions that need only the tensor itself, by name of part or reducer."""
        last = self._last
        if last is not None and last[1] == (plan.asked, x._version) and _same_memory(last[0], x):
            return last[2]
        found = {}
        if plan.parts and not self._row_pass.is_traceable:
            found = self._row_pass.reduce(x, plan.parts, plan.hides)
        if plan.others or self._row_pass.is_traceable:
            found |= self._by_torch(plan, x)
        if self._eager:
            self._last = (x, (plan.asked, x._version), found)
        return found

    def _by_torch(self, plan: "_Plan", x: Tensor) -> dict[str, Tensor]:
        """The reductions that consist of torch's operations."""
        x = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        by_rows = plan.parts and self._row_pass.is_traceable
        found = self._row_pass.reduce(x, plan.parts, plan.hides) if by_rows else {}
        for each in plan.others:
            if self._waits(each):
                found[_FULL] = x.clone() if self._eager else x
            else:
                found[f"{MEAN}{each.name}"] = _reduced(each, x)
        return found

    def _waits(self, reducer: Reducer) -> bool:
        """Whether a reducer must wait until all parts of a batch are processed."""
        return self._in_parts and not reducer.is_mean

    def finish(self, tapped: Mapping[str, Tensor], buffer: ColumnBuffer) -> None:
        """Adds the statistics of a complete batch to a buffer, from its tapped values."""
        places = [plan.place for plan in self._plans.values() if plan.parts]
        if places:
            sums = self._site_sums.of(tapped)
            self._add_also(sums, buffer)
            counts, hidden = self._counts(tapped)
            if "zeros" in sums:  # hidden entries were counted as zeros
                sums = {**sums, "zeros": (sums["zeros"] - hidden).clamp(min=0)}
            rows = rows_from(sums, counts)
            for each in self._row_reducers:
                buffer.add(each.of_numbers(rows), [f"{place}/{each.name}" for place in places])
        for plan in self._plans.values():
            full = tapped.get(plan.name(_FULL))
            for each in plan.others if full is not None else ():
                if self._waits(each):
                    assert full is not None, "checked above"
                    buffer.add(_reduced(each, full)[:, None], [f"{plan.place}/{each.name}"])
            answers = tapped.get(plan.name(_ANSWERS))
            for each in plan.answers if answers is not None else ():
                if self._waits(each):
                    assert answers is not None, "checked above"
                    found = per_run(each.function, answers, tapped[plan.name(_TARGETS)])
                    buffer.add(found[:, None], [f"{plan.place}/{each.name}"])
        means = [name for name in tapped if name.startswith(MEAN)]
        if means:
            names = [name.removeprefix(MEAN).replace("|", "/") for name in means]
            buffer.add(torch.stack([tapped[name] for name in means], dim=1), names)

    def _add_also(self, sums: Mapping[str, Tensor], buffer: ColumnBuffer) -> None:
        """Adds the reducers of complete tensors that the pass over rows has computed."""
        for name in sorted(self._row_pass.also):
            reduced = [plan for plan in self._plans.values() if plan.parts]
            asked = [number for number, plan in enumerate(reduced) if name in plan.parts]
            if asked:
                buffer.add(sums[name][:, asked], [f"{reduced[n].place}/{name}" for n in asked])

    def _counts(self, tapped: Mapping[str, Tensor]) -> Tensor:
        """The numbers of entries at each place that are visible, and that are hidden."""
        if self._count is None:
            sites = [self._sites[site] for (_, site), plan in self._plans.items() if plan.parts]
            visible = [float(site.visible * self._batch) for site in sites]
            every = [float(prod(site.shape) * self._batch) for site in sites]
            both = torch.tensor([visible, every], device=next(iter(tapped.values())).device)
            self._count = torch.stack([both[0], both[1] - both[0]])
        return self._count


class _Plan(NamedTuple):
    """What is computed of a site's tensor, or of its gradient.

    Attributes:
        place: FAMILY/SITE.
        parts: The parts of the pass over rows.
        others: Reducers of the complete tensor that are not among the parts.
        answers: Reducers of answers.
        hides: Whether entries of -inf count as zeros.
        asked: Identifies what is computed; equal for places with equal reductions.
        names: The name of each part among the results of a pass.
    """

    place: str
    parts: frozenset[str]
    others: list[Reducer]
    answers: list[Reducer]
    hides: bool
    asked: Any
    names: dict[str, str]

    def name(self, result: str) -> str:
        """The name of a part, or of a reducer's result, among the results of a pass."""
        if result.startswith(MEAN):
            return f"{MEAN}{self.place}|{result.removeprefix(MEAN)}"
        return f"{self.place}|{result}"


def _plan(place: str, reducers: Sequence[Reducer], hides: bool, also: frozenset[str]) -> _Plan:
    by_pass = {each.name for each in reducers if each.name in also}
    parts = parts_for([each.name for each in reducers if each.given == "rows"]) | by_pass
    others = [
        each
        for each in reducers
        if each.given in ("tensor", "matrices") and each.name not in by_pass
    ]
    answers = [each for each in reducers if each.given == "answers"]
    asked = (parts, tuple(each.name for each in others), hides)
    names = {part: f"{place}|{part}" for part in ("sums", *parts)}
    return _Plan(place, parts, others, answers, hides, asked, names)


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
