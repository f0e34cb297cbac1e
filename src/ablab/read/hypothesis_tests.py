"""The runs that verdicts are about, and their values by cell and seed."""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ablab.experiments.cell_text import matches
from ablab.experiments.grid import INACTIVE
from ablab.read.effects.inference import ALPHA, balance

Floats = NDArray[np.float64]
_GEOMETRIC = (
    pl.when(pl.col("value").len() == 1)
    .then(pl.col("value").first())
    .otherwise(pl.col("value").log().mean().exp())
)


class Sample:
    """The runs of some cells, with a measure of each run.

    Args:
        frame: A row for each run: the grid's keys, ``seed``, ``value``, ``not_before``, ``reason``.
        keys: The grid's keys.
        nullable: Those of which null is a value. In a run in which another key does not vary, its
            value is null.
        alpha: The significance level at which these runs are tested.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        keys: list[str],
        nullable: Collection[str] = (),
        alpha: float = ALPHA,
    ) -> None:
        self.frame, self.keys, self.nullable, self.alpha = frame, keys, nullable, alpha

    def where(self, cell: Mapping[str, Any]) -> "Sample | str":
        """The runs of a cell; if there are none, a sentence with the reason."""
        frame = self.frame
        for key, value in cell.items():
            if key not in self.keys:
                return f"{key} does not vary in this grid"
            match = matches(frame[key].to_list(), value, key not in self.nullable)
            if not any(match):
                there = ", ".join(str(each) for each in frame[key].unique(maintain_order=True))
                return f"this grid has no {key}={value}, only {there}"
            frame = frame.filter(pl.Series(match))
        return self.of(frame, [key for key in self.keys if key not in cell])

    def of(self, frame: pl.DataFrame, keys: list[str] | None = None) -> "Sample":
        """Some of these runs, with all keys or some."""
        return Sample(frame, self.keys if keys is None else keys, self.nullable, self.alpha)

    def active(self, key: str) -> "Sample":
        """The runs in which a key of the grid varies."""
        column = self.frame[key]
        idle = column.cast(pl.String) == INACTIVE
        if key not in self.nullable:
            idle |= column.is_null()
        return self.of(self.frame.filter(~idle.fill_null(False)))

    @cached_property
    def known(self) -> pl.DataFrame:
        """The rows of runs that have a value."""
        return self.frame.filter(pl.col("value").is_not_null())

    @property
    def seeds(self) -> int:
        """The number of seeds, with those whose runs have no value."""
        return self.frame["seed"].n_unique()

    @property
    def mean(self) -> float:
        """The mean over seeds of the means over cells."""
        return float(self.by_seed()["value"].mean())  # type: ignore[arg-type]

    @property
    def unreached(self) -> int:
        """The number of runs that did not reach the step that is measured."""
        return int(self.frame["not_before"].is_not_null().sum())

    @property
    def measured(self) -> pl.DataFrame:
        """The rows of runs that have a value, or a step that they did not reach."""
        return self.frame.filter(pl.col("value").is_not_null() | pl.col("not_before").is_not_null())

    @property
    def lost(self) -> pl.DataFrame:
        """The rows of runs that are neither a number nor a step that was not reached."""
        return self.frame.filter(pl.col("value").is_null() & pl.col("not_before").is_null())

    @property
    def diverged(self) -> int:
        """The number of runs that have no value because they diverged."""
        return self.lost["status"].to_list().count("diverged")

    def by_seed(self) -> pl.DataFrame:
        """The mean over cells for each seed: a frame with ``seed`` and ``value``."""
        return self.known.group_by("seed").agg(pl.col("value").mean()).sort("seed")

    def seed_values(self, geometric: bool) -> Floats:
        """The mean over cells of each seed, (seeds,); the geometric mean where ratios matter."""
        if not geometric:
            return self.by_seed()["value"].to_numpy()
        return self.known.group_by("seed").agg(_GEOMETRIC).sort("seed")["value"].to_numpy()

    def why(self) -> str:
        """The reasons why runs have no value, each with its count."""
        return why_lost(self.lost)

    @property
    def is_lost(self) -> bool:
        """Whether no run has a value, not even a step that it did not reach."""
        return self.lost.height == self.frame.height

    def at(self, key: str, label: Any) -> "Sample":
        """The runs with a label of an axis."""
        there = self.frame.filter(pl.col(key).eq_missing(pl.lit(label)))
        return self.of(there, [each for each in self.keys if each != key])

    def levels(self, key: str) -> "list[Any] | str":
        """The values of a setting in order; a sentence with the reason if it does not vary.

        Cells in which it does not vary have none.
        """
        if key not in self.keys:
            return f"{key} does not vary in this grid"
        labels = self.active(key).frame[key].unique(maintain_order=True).to_list()
        if len(labels) < 2:
            return f"{key} has only one value"
        numbers = all(isinstance(each, int | float) for each in labels)
        return sorted(labels) if numbers else labels

    def by(self, key: str, geometric: bool = False) -> "tuple[list[Any], Floats] | str":
        """The values of a setting, and the mean over the other settings for each value and seed.

        All means are over the same cells of the other settings. If runs have no value, cells or
        seeds are left out as in :func:`ablab.read.effects.inference.balance`.

        Args:
            key: The setting.
            geometric: Whether to take geometric means, of values that are all positive.

        Returns:
            The values in order and a table (values, seeds), with NaN where no run has a value and
            for seeds that are left out. If the setting cannot be compared, a sentence with the
            reason.
        """
        labels = self.levels(key)
        if isinstance(labels, str):
            return labels
        mine = self.active(key)
        shared = shared_keys(*(mine.at(key, label) for label in labels))
        values = _GEOMETRIC if geometric else pl.col("value").mean()
        grouped = mine.known.group_by(key, *shared, "seed", maintain_order=True).agg(values)
        rows = [(row[0], row[1:-2], *row[-2:]) for row in grouped.iter_rows()]
        cells = {cell: place for place, cell in enumerate(dict.fromkeys(row[1] for row in rows))}
        seeds = {each: place for place, each in enumerate(self.frame["seed"].unique().sort())}
        table = np.full((len(labels), max(1, len(cells)), len(seeds)), np.nan)
        for label, cell, seed, value in rows:
            table[labels.index(label), cells[cell], seeds[seed]] = value
        empty = [str(each) for each, row in zip(labels, table, strict=True) if np.isnan(row).all()]
        if empty:
            return f"no run has a value at {key}={', '.join(empty)}: {self.why()}"
        if len(cells) == 1:
            return labels, table[:, 0]
        numbers = np.broadcast_to(np.arange(len(seeds)), (1, *table.shape[1:]))
        found = balance(np.concatenate([np.log(table) if geometric else table, numbers])).values
        if not found.size:
            return f"no variant of the other settings has a value at each {key}: {self.why()}"
        means = np.full((len(labels), len(seeds)), np.nan)
        means[:, found[-1].round().astype(int)] = np.exp(found[:-1]) if geometric else found[:-1]
        return labels, means


def why_lost(lost: pl.DataFrame) -> str:
    """The reasons why runs have no value, each with its count."""
    counts = lost["reason"].value_counts(sort=True)
    return ", ".join(
        f"{count} {reason}" for reason, count in counts.iter_rows() if reason is not None
    )


def gaps(*samples: Sample) -> str:
    """A remark about runs without a value, counted in each sample; may be empty."""
    lost = [each.lost for each in samples]
    count = sum(each.height for each in lost)
    if not count:
        return ""
    runs = "runs" if samples[-1].frame.height != 1 else "run"
    of = [f"{each.frame.height - gone.height} of {each.frame.height}"
          for each, gone in zip(samples, lost, strict=True)]  # fmt: skip
    have = "has" if len(of) == 1 and of[0].startswith("1 of") else "have"
    return f"; {' vs '.join(of)} {runs} {have} a value ({why_lost(pl.concat(lost))})"


def levels_of(sample: Sample, other: Sample) -> Floats | None:
    """The values of two samples, by the settings with a value in common and by seed.

    Each sample is averaged over its other settings; see :func:`apart`.

    Returns:
        The values, (2, cells, seeds), with NaN for missing ones; None if a sample has no value.
    """
    keys = shared_keys(sample, other)
    rows = [
        each.known.group_by([*keys, "seed"]).agg(pl.col("value").mean()).iter_rows()
        for each in (sample, other)
    ]
    found = [{(tuple(cell), seed): value for *cell, seed, value in each} for each in rows]
    if not all(found):
        return None
    cells = {
        cell: place for place, cell in enumerate(dict.fromkeys(c for f in found for c, _ in f))
    }
    seeds = {seed: place for place, seed in enumerate(sorted({s for f in found for _, s in f}))}
    values = np.full((2, len(cells), len(seeds)), np.nan)
    for side, each in enumerate(found):
        for (cell, seed), value in each.items():
            values[side, cells[cell], seeds[seed]] = value
    return values


def why_no_pair(sample: Sample, other: Sample) -> str:
    """The reason why no run of one sample can be compared with one of the other."""
    if set(sample.measured["seed"]) & set(other.measured["seed"]):
        return "no variant of one side has the other settings of one of the other side"
    return "no seed has a value on both sides"


def apart(*samples: Sample) -> str:
    """A remark about settings that have no value in common, so that they differ too; may be empty.

    Such as the optimizer, if momentum is compared with none, or momentum, if optimizers are.
    """
    remarks = []
    for key, labels in _apart_keys(samples).items():
        if all(each.active(key).frame.height for each in samples):
            names = [", ".join(map(str, each)) for each in labels]
            remarks.append(f"{key} differs as well ({' vs '.join(names)})")
        elif len(samples) == 2:
            remarks.append(f"{key} does not vary on one side, and the other is averaged over it")
        else:
            remarks.append(f"{key} does not vary in all of these, and the others are averaged")
    return "".join(f"; {each}" for each in remarks)


def shared_keys(*samples: Sample) -> list[str]:
    """The settings of all samples of which any two samples have a value in common."""
    without = _apart_keys(samples)
    return [key for key in _keys_of_all(samples) if key not in without]


def _apart_keys(samples: Sequence[Sample]) -> dict[str, list[list[Any]]]:
    """The settings of which two samples have no value in common, with the values of each."""
    found = {}
    for key in _keys_of_all(samples):
        labels = [each.frame[key].unique(maintain_order=True).to_list() for each in samples]
        if any(not any(a in two for a in one) for one, two in combinations(labels, 2)):
            found[key] = labels
    return found


def _keys_of_all(samples: Sequence[Sample]) -> list[str]:
    return [key for key in samples[0].keys if all(key in each.keys for each in samples)]
