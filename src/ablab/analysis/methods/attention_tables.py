"""Tables of what heads look at from predicted positions. Axes: N, H heads, T queries, S keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ablab.analysis.methods.attention_weights import AttentionWeights
from ablab.analysis.methods.explained import explained_by_labels
from ablab.analysis.methods.resampling import corrected
from ablab.analysis.methods.samples import Samples

_ROWS = 4096  # of a table of sources, beyond which only the last destination is listed
_EXPLAINED = 1024  # samples for shares of variance
_LABELS = 256  # values of a factor


@dataclass(frozen=True)
class HeadAttention:
    """Where heads look on samples.

    Attributes:
        samples: The samples.
        weights: The weights of all heads.
        shares: Their shares, (N, H, T, S).
        queries: The weights of queries, which sum to 1, (N, T).
        roles: The roles of positions.
    """

    samples: Samples
    weights: AttentionWeights
    shares: NDArray[np.float64]
    queries: NDArray[np.float64]
    roles: Sequence[str]

    @property
    def destinations(self) -> list[int]:
        """The predicted positions, or the last one if there would be too many rows."""
        found = self.samples.positions
        _, heads, length, _ = self.shares.shape
        return found if len(found) * heads * length <= _ROWS else found[-1:]

    @cached_property
    def named(self) -> list[dict[str, Any]]:
        """The block and the number of each head."""
        pairs = zip(self.weights.blocks, self.weights.heads, strict=True)
        return [{"block": block, "head": head} for block, head in pairs]

    @cached_property
    def used(self) -> NDArray[np.float64]:
        """The weights of queries, without rows whose weights are all zero, (N, H, T)."""
        found: NDArray[np.float64] = self.queries[:, None] * (self.shares.sum(-1) > 0)
        return found


def mean_of(values: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each head over samples and queries, (H,), from (N, H, T); NaN without weights."""
    weights = np.broadcast_to(weights, values.shape)
    total = weights.sum((0, 2))
    found: NDArray[np.float64] = (values * weights).sum((0, 2)) / np.where(total > 0, total, np.nan)
    return found


def mean_rows(rows: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each head's rows over samples, (H, S), from (N, H, S) and (N, H)."""
    total = weights.sum(0)[:, None]
    found: NDArray[np.float64] = np.einsum("nh,nhs->hs", weights, rows) / np.where(
        total > 0, total, np.nan
    )
    return found


def sources_table(measured: HeadAttention) -> pl.DataFrame:
    """A row for each head, predicted position and key that it sees."""
    rows = []
    for destination in measured.destinations:
        used = measured.used[:, :, destination]
        every = np.broadcast_to(measured.queries[:, [destination]], used.shape)
        weight = mean_rows(measured.weights.weights[:, :, destination], every)
        share = mean_rows(measured.shares[:, :, destination], used)
        for place, ends in _ends(measured, destination):
            source, seen = ends["source"], measured.weights.visible[place, destination]
            numbers = {"weight": weight[place, source], "share": share[place, source]}
            rows.append(ends | _finite(numbers) | {"uniform": 1 / float(seen.sum())})
    return pl.DataFrame(rows, schema={**_ENDS, **dict.fromkeys(_SOURCE, pl.Float64)})


def by_factor_table(measured: HeadAttention, values: int) -> pl.DataFrame:
    """A row for each key, as of :func:`sources_table`, and value of a factor.

    Args:
        measured: The attention of the heads.
        values: The largest number of values of a factor.
    """
    rows = []
    for factor, labels in measured.samples.labels.items():
        known = np.unique(labels[labels >= 0])
        if not 2 <= len(known) <= values:
            continue
        names = measured.samples.names.get(factor)
        for value in known:
            chosen = labels == value
            about = {
                "factor": factor,
                "value": int(value),
                "value_name": None if names is None else names[int(value)],
            }
            for destination in measured.destinations:
                used = measured.used[chosen, :, destination]
                share = mean_rows(measured.shares[chosen, :, destination], used)
                rows += [
                    ends | about | _finite({"share": share[place, ends["source"]]})
                    for place, ends in _ends(measured, destination)
                ]
    return pl.DataFrame(rows, schema={**_ENDS, **_VALUE, "share": pl.Float64})


def factors_table(measured: HeadAttention, permutations: int, seed: int) -> pl.DataFrame:
    """A row for each head and factor: how much of the shares the factor explains.

    Args:
        measured: The attention of the heads.
        permutations: The number of permutations of labels.
        seed: Their seed.
    """
    rng = np.random.default_rng(seed)
    shares = measured.shares[:, :, measured.destinations]
    used = np.broadcast_to((measured.used > 0)[:, :, measured.destinations, None], shares.shape)
    rows = []
    for factor, labels in measured.samples.labels.items():
        known = np.flatnonzero(labels >= 0)
        if not 2 <= len(np.unique(labels[known])) <= _LABELS:
            continue
        if len(known) > _EXPLAINED:
            known = rng.choice(known, _EXPLAINED, replace=False)
        values = shares[known].reshape(len(known), shares.shape[1], -1)
        weights = measured.samples.weights[known]
        own = used[known].reshape(values.shape)
        found = explained_by_labels(
            values, labels[known], weights, permutations, seed, None if own.all() else own
        )
        for place, named in enumerate(measured.named):
            row = {"factor": factor, "values": len(np.unique(labels[known]))}
            numbers = {
                "explained": found.share[place],
                "null": found.null[place],
                "null_95": found.high[place],
                "p": found.p[place],
            }
            rows.append(named | row | _finite(numbers))
    adjusted = corrected([row["p"] for row in rows])
    rows = [row | {"p_corrected": p} for row, p in zip(rows, adjusted, strict=True)]
    return pl.DataFrame(rows, schema=_FACTORS)


def _ends(measured: HeadAttention, destination: int) -> list[tuple[int, dict[str, Any]]]:
    """The place of each head, and the columns of an edge to each key that it sees."""
    return [
        (
            place,
            named
            | {
                "destination": destination,
                "destination_role": measured.roles[destination],
                "source": source,
                "source_role": measured.roles[source],
            },
        )
        for place, named in enumerate(measured.named)
        for source in np.flatnonzero(measured.weights.visible[place, destination]).tolist()
    ]


def _finite(numbers: dict[str, Any]) -> dict[str, float | None]:
    """None for numbers that are not finite."""
    return {name: float(x) if np.isfinite(x) else None for name, x in numbers.items()}


_HEAD = {"block": pl.Int64, "head": pl.Int64}
_ENDS = {
    **_HEAD,
    "destination": pl.Int64,
    "destination_role": pl.String,
    "source": pl.Int64,
    "source_role": pl.String,
}
_SOURCE = ("weight", "share", "uniform")
_VALUE = {"factor": pl.String, "value": pl.Int64, "value_name": pl.String}
_NULL = {"null": pl.Float64, "null_95": pl.Float64, "p": pl.Float64, "p_corrected": pl.Float64}
_FACTORS = {**_HEAD, "factor": pl.String, "values": pl.Int64, "explained": pl.Float64, **_NULL}
