"""The difference of two levels over seeds: paired where seeds matter, else by Welch's test."""

from dataclasses import dataclass

import numpy as np

from ablab.read.effects.inference import (
    ALPHA,
    Estimate,
    balance,
    equivalence,
    estimate,
    rounding,
)
from ablab.read.effects.results import Array
from ablab.read.statistics.bounded import BoundedDifference, bounded_difference
from ablab.read.statistics.levels import unpaired
from ablab.read.statistics.permutation import least_p
from ablab.read.statistics.scales import Range


@dataclass(frozen=True)
class Levels:
    """The difference of two levels.

    Attributes:
        estimate: The difference over seeds.
        p_equivalence: The p-value of a difference within the margin; None without a margin.
        paired: Whether runs were paired by seed.
        cells: The number of cells of the other settings in each seed's average.
        samples: The value of each seed on both sides.
        bounded: The difference in a range with two ends, as a part of its width; None for others.
    """

    estimate: Estimate
    p_equivalence: float | None
    paired: bool
    cells: int
    samples: tuple[Array, Array]
    bounded: BoundedDifference | None = None

    @property
    def runs(self) -> tuple[int, int]:
        """The number of seeds on both sides."""
        return len(self.samples[0]), len(self.samples[1])


def compare_levels(
    values: Array,
    pairing: bool,
    size: float,
    margin: float | None = None,
    several: bool = False,
    limits: Range | None = None,
    alpha: float = ALPHA,
) -> Levels:
    """Compares two levels; effects and verdicts both do it so.

    Args:
        values: The values, (2, cells, seeds), with NaN for missing ones.
        pairing: Whether seeds matter; see :func:`ablab.read.statistics.levels.pair_by_seed`.
        size: The largest absolute value of the numbers from which the values were computed.
        margin: The margin of an equivalence test.
        several: Whether the comparison is one of several whose p-values are corrected together;
            see :meth:`ablab.read.statistics.levels.Difference.in_family`.
        limits: The range of the values, if it has two ends: the interval then stays in it.
        alpha: The significance level: the confidence of the interval is 1 - alpha. Below 5%, as at
            one of several looks, degrees of freedom are those of one of several comparisons.
    """
    several = several or alpha < ALPHA
    cells = values.shape[1]
    if cells > 1 or pairing:
        balanced = balance(values)
        samples, cells = balanced.values, balanced.cells
    else:
        samples = values[:, 0]
    first, second = (sample[np.isfinite(sample)] for sample in samples)
    if (
        not pairing
        and cells == 1
        and len(first) == len(second)
        and np.isfinite(samples).all()
        and np.ptp(first - second) <= rounding(size)
    ):
        pairing = True  # every seed gives the same difference
    found, p = _level(samples, first, second, pairing, size, margin, several, alpha)
    if limits is None or found.interval is None:
        return Levels(found, p, pairing, cells, (first, second))
    whole = samples[:, np.isfinite(samples).all(axis=0)]
    together = pairing and whole.shape[1] > 1
    one, two = whole if together else (first, second)
    bounded = bounded_difference(one, two, limits, together)
    return Levels(
        *_in_range(bounded, found.seeds, limits, margin, several, alpha),
        pairing, cells, (first, second), bounded,
    )  # fmt: skip


def _in_range(
    bounded: BoundedDifference,
    seeds: int,
    limits: Range,
    margin: float | None,
    several: bool,
    alpha: float,
) -> tuple[Estimate, float | None]:
    """The same of a column whose range has two ends."""
    width = limits[1] - limits[0]
    wide, narrow = ((width * low, width * high)
                    for low, high in (bounded.interval(each, alpha < ALPHA)
                                      for each in (alpha, 2 * alpha)))  # fmt: skip
    found = Estimate(
        seeds,
        width * bounded.value,
        width * bounded.error * seeds**0.5,
        wide,
        narrow,
        bounded.p_value(in_family=several),
    )
    return found, None if margin is None else bounded.p_equivalence(margin / width, several)


def _level(
    samples: Array,
    first: Array,
    second: Array,
    pairing: bool,
    size: float,
    margin: float | None,
    several: bool,
    alpha: float,
) -> tuple[Estimate, float | None]:
    """The difference of levels, and the p-value of an equivalence test."""
    if pairing or min(len(first), len(second)) < 2:
        whole = samples[:, np.isfinite(samples).all(axis=0)]
        if whole.shape[1] or not min(len(first), len(second)):
            differences = whole[0] - whole[1]
            p = None if margin is None else equivalence(differences, margin, size)
            return estimate(differences, size, alpha), p
    found = unpaired(first, second)
    seeds = min(len(first), len(second))
    value, error = float(found.value), float(found.error)
    if not np.isfinite(error) or error <= rounding(size):
        # Equal runs on each side have no spread; the seeds can still be counted.
        p = least_p(len(first), len(second)) if abs(value) > rounding(size) else 1.0
        return Estimate(seeds, value, 0.0 if seeds > 1 else None, None, None,
                        p if seeds > 1 else None), None  # fmt: skip
    tested = found.in_family() if several else found
    shown = found if alpha == ALPHA else tested
    half, narrow = float(shown.half_width(alpha)), float(shown.half_width(2 * alpha))
    return Estimate(
        seeds,
        value,
        error * seeds**0.5,  # as if it were of paired differences
        (value - half, value + half),
        (value - narrow, value + narrow),
        float(tested.p_value()),
    ), None if margin is None else float(tested.p_equivalence(margin))
