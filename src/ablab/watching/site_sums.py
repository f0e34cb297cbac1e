"""Finishes what passes over the tensors of sites give, for all sites at once.

Axes: R runs, places (the tensors of sites, and their gradients), m values of a part at a place.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablab.watching.native_rows import Reduce, finished_sums, part_job
from ablab.watching.rows import PARTS


class SiteSums(ABC):
    """Sums and extremes over the rows of each place; all implementations agree up to rounding."""

    @abstractmethod
    def of(self, tapped: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What :func:`ablab.watching.rows.rows_from` takes, each (R, places).

        A place without a value, which no gradient has reached, is NaN.

        Args:
            tapped: The results of the pass, by ``PLACE|PART``; each (R, m).
        """


class NativeSums(SiteSums):
    """One call of the native function for all parts at all places.

    Args:
        reduce: The native function.
        places: The places.
    """

    def __init__(self, reduce: Reduce, places: Sequence[str]) -> None:
        self._reduce = reduce
        self._finished = [f"{place}|sums" for place in places]
        self._names = [f"{place}|{part}" for part in PARTS for place in places]
        self._jobs: _Jobs | None = None

    def of(self, tapped: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What :func:`ablab.watching.rows.rows_from` takes, each (R, places)."""
        finished = [tapped.get(name) for name in self._finished]
        known = next((each for each in finished if each is not None), None)
        if known is not None:
            unknown = torch.full_like(known, torch.nan)
            every = [unknown if each is None else each for each in finished]
            return finished_sums(torch.stack(every, dim=1))
        values = {name: tapped[name] for name in self._names if name in tapped}
        for name, each in values.items():
            if each.dtype is not torch.float32 or not each.is_contiguous():
                values[name] = each.to(torch.float32).contiguous()
        shapes = {name: each.shape for name, each in values.items()}
        jobs = self._jobs
        if jobs is None or jobs.shapes != shapes:
            jobs = self._jobs = self._described(shapes)
        jobs.rows[:, 0] = [each.data_ptr() for each in values.values()]
        runs = next(iter(shapes.values()))[0]
        found = self._reduce(jobs.rows.ctypes.data, len(values), runs)
        found = torch.cat([found, torch.full_like(found[:, :1], torch.nan)], dim=1)
        sums: dict[str, Tensor] = {}
        for part, job_of_place in jobs.by_part.items():
            own = finished_sums(found.index_select(1, job_of_place).unsqueeze(-2))
            sums |= {name: own[column] for name, column in _COLUMNS[part].items()}
        return sums

    def _described(self, shapes: dict[str, torch.Size]) -> "_Jobs":
        number = {name: job for job, name in enumerate(shapes)}
        by_part: dict[str, Tensor] = {}
        rows: list[list[int]] = []
        count = len(self._finished)
        for place, part in enumerate(PARTS):
            names = self._names[place * count : (place + 1) * count]
            known = [name for name in names if name in number]
            rows += [part_job(shapes[name][1], part == "norms") for name in known]
            if known:
                by_part[part] = torch.tensor([number.get(name, len(number)) for name in names])
        return _Jobs(shapes, np.array(rows, dtype=np.int64), by_part)


class _Jobs(NamedTuple):
    """The jobs for the values of parts at places.

    Attributes:
        shapes: The shapes of the values, by name, in the order of the jobs.
        rows: The jobs.
        by_part: For each part, the job of each place; one that is not there if it has no value.
    """

    shapes: dict[str, torch.Size]
    rows: NDArray[np.int64]
    by_part: dict[str, Tensor]


# Which sum over the values of a part is which sum over the rows of a place.
_COLUMNS = {
    "norms": {name: name for name in ("mean_norm", "max_norm", "min_norm", "squares")},
    "total": {"total": "total"},
    "largest": {"largest": "largest"},
    "zeros": {"zeros": "total"},
}


class TorchSums(SiteSums):
    """torch's operations, on any device; places with equally many values at once.

    Args:
        places: The places.
    """

    def __init__(self, places: Sequence[str]) -> None:
        self._places = places
        self._orders: dict[tuple[int, ...], Tensor] = {}

    def of(self, tapped: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What :func:`ablab.watching.rows.rows_from` takes, each (R, places)."""
        sums: dict[str, Tensor] = {}
        places = self._places
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
