"""Tables of the changes of losses by parts of a model. Axes: N samples, P parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ablab.analysis.methods.removable_parts import Part
from ablab.analysis.methods.resampling import bootstrap_interval, corrected, sign_flip_p
from ablab.analysis.methods.samples import Samples

_SHOWN_NEURONS = 8  # in the table by factor
_LEVEL = 0.05


@dataclass(frozen=True)
class Changes:
    """The changes of the losses of samples without each of some parts.

    Attributes:
        samples: The samples.
        losses: The losses of the whole model, (N,).
        rounding: Differences up to this size can come from rounding.
        parts: The parts.
        changes: The changes, (N, P).
        matched: The changes if a part has its values for another sample with the same targets,
            (N, P), NaN where that is not defined; None if it was not measured.
        has_partner: Whether a sample has such another one, (N,).
    """

    samples: Samples
    losses: NDArray[np.float64]
    rounding: float
    parts: Sequence[Part]
    changes: NDArray[np.float64]
    matched: NDArray[np.float64] | None = None
    has_partner: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn.

    Attributes:
        resamples: The number of resamples.
        seed: Their seed.
    """

    resamples: int
    seed: int

    def interval(
        self, values: NDArray[np.float64], weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See :func:`ablab.analysis.methods.resampling.bootstrap_interval`."""
        return bootstrap_interval(values, weights, self.resamples, self.seed)


def parts_table(
    found: Sequence[Changes], how: str, least: float, resampling: Resampling
) -> pl.DataFrame:
    """A row for each part: the changes with intervals and tests.

    Args:
        found: The changes.
        how: By what parts are replaced.
        least: The smallest change with which a part can matter, a rise of the loss.
        resampling: How intervals are drawn.
    """
    rows = [row for each in found for row in _rows(each, how, resampling)]
    adjusted = corrected([row["p"] for row in rows])
    for row, p in zip(rows, adjusted, strict=True):
        row["p_corrected"] = p
        row["matters"] = None
        if p is not None and row["change"] is not None:
            row["matters"] = p <= _LEVEL and row["change"] >= least
    return pl.DataFrame(rows, schema=_PARTS)


def by_factor_table(found: Sequence[Changes], values: int, resampling: Resampling) -> pl.DataFrame:
    """A row for each part, factor and value, of neurons for those with the largest changes.

    Args:
        found: The changes.
        values: The largest number of values of a factor.
        resampling: How intervals are drawn.
    """
    rows = []
    for each in found:
        places = _shown(each)
        for factor, labels in each.samples.labels.items():
            known = np.unique(labels[labels >= 0])
            if 2 <= len(known) <= values:
                for value in known:
                    rows += _rows_of_value(each, places, factor, int(value), resampling)
    return pl.DataFrame(rows, schema=_BY_FACTOR)


def _rows(found: Changes, how: str, resampling: Resampling) -> list[dict[str, Any]]:
    samples, weights = found.samples, found.samples.weights
    low, high = resampling.interval(found.changes, weights)
    p = sign_flip_p(np.where(np.abs(found.changes) <= found.rounding, 0, found.changes), weights)
    rows = []
    for place, part in enumerate(found.parts):
        own, train = found.changes[:, place], samples.train
        row = {**_named(part), "how": how, "change": own @ weights, "p": p[place]}
        row |= {"low": low[place], "high": high[place]}
        row["change_train"] = None if train is None else _mean(own, weights * train)
        row["change_held_out"] = None if train is None else _mean(own, weights * ~train)
        row["change_matched"] = None
        if found.matched is not None and found.has_partner is not None:
            row["change_matched"] = _mean(found.matched[:, place], weights * found.has_partner)
        rows.append({key: _finite(value) for key, value in row.items()})
    return rows


def _shown(found: Changes) -> NDArray[np.int64]:
    """The places of all parts but neurons, and of the neurons with the largest changes."""
    sizes = np.abs(found.samples.weights @ found.changes)
    is_neuron = np.array([part.kind == "neuron" for part in found.parts])
    neurons = np.flatnonzero(is_neuron)
    largest = neurons[np.argsort(-sizes[neurons], kind="stable")[:_SHOWN_NEURONS]]
    return np.sort(np.concatenate([np.flatnonzero(~is_neuron), largest]))


def _rows_of_value(
    found: Changes, places: NDArray[np.int64], factor: str, value: int, resampling: Resampling
) -> list[dict[str, Any]]:
    chosen = np.flatnonzero(found.samples.labels[factor] == value)
    weights, names = found.samples.weights[chosen], found.samples.names.get(factor)
    changes = found.changes[np.ix_(chosen, places)]
    low, high = resampling.interval(changes, weights)
    share = float(weights.sum())
    about = {
        "factor": factor,
        "value": value,
        "value_name": None if names is None else names[value],
        "share": share,
        "loss": _finite(found.losses[chosen] @ weights / share),
    }
    return [
        _named(found.parts[place])
        | about
        | {
            "change": _finite(changes[:, column] @ weights / share),
            "low": _finite(low[column]),
            "high": _finite(high[column]),
        }
        for column, place in enumerate(places)
    ]


def _named(part: Part) -> dict[str, Any]:
    return {
        "part": part.name,
        "kind": part.kind,
        "block": part.block,
        "head": part.head,
        "neuron": part.neuron,
        "destination": part.destination,
        "source": part.source,
    }


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float | None:
    total = weights.sum()
    return float(values @ weights / total) if total > 0 else None


def _finite(value: Any) -> Any:
    """None for numbers that are not finite."""
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else None
    return value


_NAMED = {
    "part": pl.String,
    "kind": pl.String,
    "block": pl.Int64,
    "head": pl.Int64,
    "neuron": pl.Int64,
    "destination": pl.Int64,
    "source": pl.Int64,
}
_CHANGE = {"change": pl.Float64, "low": pl.Float64, "high": pl.Float64}
_PARTS = {
    **_NAMED,
    "how": pl.String,
    **_CHANGE,
    "change_train": pl.Float64,
    "change_held_out": pl.Float64,
    "change_matched": pl.Float64,
    "p": pl.Float64,
    "p_corrected": pl.Float64,
    "matters": pl.Boolean,
}
_BY_FACTOR = {
    **_NAMED,
    "factor": pl.String,
    "value": pl.Int64,
    "value_name": pl.String,
    "share": pl.Float64,
    "loss": pl.Float64,
    **_CHANGE,
}
