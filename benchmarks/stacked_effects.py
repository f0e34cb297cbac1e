"""Many simulated experiments at once, compared as ``ablab.read.effects.differences`` does.

One axis, whose first value is the base. The statistics are the package's own, which take stacks;
only what joins them is written for stacks here. Ranks, and differences of columns whose range has
two ends, are computed for each experiment. ``intervals_simulation.py`` compares some experiments of
each row with the package itself.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import fdtrc

from ablab.read.effects.compare import WIDEST
from ablab.read.effects.pairwise import LEAST_GROUPED, rank_test
from ablab.read.effects.results import RATIO_SPAN, SKEWED
from ablab.read.statistics.array import Array
from ablab.read.statistics.bounded import bounded_difference
from ablab.read.statistics.counts import probability_difference, probability_test
from ablab.read.statistics.groups import LEAST_GAP, notice_cut
from ablab.read.statistics.levels import PAIRING_ALPHA, Difference, paired, spread, unpaired
from ablab.read.statistics.ranks import Arrivals, Bounds
from ablab.read.statistics.scales import Range

ALPHA = 0.05


@dataclass
class Prepared:
    """Stacks of experiments on their scales; each of (experiments, cells, seeds) or one less."""

    scaled: Array
    ratio: Array
    cut: Array
    pairing: Array
    reached: Array
    horizon: Array
    failed: Array
    better: str | None
    arrivals: Arrivals
    limits: Range | None


@dataclass
class Compared:
    """Stacks of comparisons of one cell with the first, each (experiments,).

    ``level`` is on the scale; NaN errors where there is no interval. ``told`` says what is counted.
    ``interval`` has the ends, (2, experiments).
    """

    level: Difference
    interval: Array
    p: Array
    p_equivalence: Array
    told: Array
    above: Array
    ends: Array
    ratio: Array

    @property
    def shown(self) -> Array:
        """Whether there is an interval."""
        return np.isfinite(self.level.error)

    @property
    def told_as_wide(self) -> Array:
        """Whether it is only said that the interval reaches farther than a factor of 1,000."""
        return self.ratio & (np.diff(self.interval, axis=0)[0] / 2 > np.log(WIDEST))


def prepare(made: dict, better: str | None, limits: Range | None = None) -> Prepared:
    """The scale, groups, horizon and pairing of experiments, (experiments, cells, seeds)."""
    none = np.zeros(made["value"].shape, dtype=bool)
    arrivals = Arrivals(made["value"], made["not_before"], none, none)
    values, bounds = made["value"], made["not_before"]
    late = np.isfinite(bounds)
    horizon = np.where(
        late.any(axis=(1, 2)), np.where(late, bounds, np.inf).min(axis=(1, 2)), np.nan
    )
    end = horizon[:, None, None]
    reached = np.isfinite(values) & ((values <= end) | np.isnan(end))
    values = np.where(late, end, np.where(np.isnan(end), values, np.minimum(values, end)))
    there = np.isfinite(values)
    least = np.where(there, values, np.inf).min(axis=(1, 2))
    most = np.where(there, values, -np.inf).max(axis=(1, 2))
    positive = there.any(axis=(1, 2)) & (least > 0)
    ratio = positive & (most / np.where(positive, least, 1.0) > RATIO_SPAN)
    raw = notice_cut(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(np.where(positive[:, None, None], values, np.nan))
        at = raw[:, None, None]
        inner = np.concatenate(
            [
                np.where(np.isnan(at) | (values > at), logs, np.nan),
                np.where(values < at, logs, np.nan),
            ],
            axis=1,
        )
        ratio |= positive & (spread(inner) > SKEWED)
    if limits is not None and np.isfinite(limits).all():
        ratio &= most <= sum(limits) / 2
    scaled = np.where(ratio[:, None, None], logs, values)
    gap = 0.0
    if limits is not None and np.isfinite(limits).all():
        gap = LEAST_GAP * (limits[1] - limits[0])
    cut = np.where(ratio, np.nan, notice_cut(values, gap))
    cut[ratio] = notice_cut(scaled[ratio]) if ratio.any() else np.nan
    one = _one_group(scaled, cut, np.isfinite(horizon), reached, better)
    return Prepared(
        scaled,
        ratio,
        cut,
        _pairing(one),
        reached,
        horizon,
        made["failed"],
        better,
        arrivals,
        limits,
    )


def _one_group(
    scaled: Array, cut: Array, steps: Array, reached: Array, better: str | None
) -> Array:
    above = scaled > cut[:, None, None]
    few = above.sum(axis=(1, 2)) * 2 < np.isfinite(scaled).sum(axis=(1, 2))
    lower = few if better is None else np.full(len(scaled), better == "lower")
    kept = np.where(steps[:, None, None], reached, above != lower[:, None, None])
    return np.where(np.isnan(cut)[:, None, None] | kept, scaled, np.nan)


def _pairing(values: Array) -> Array:
    """``pair_by_seed`` of each experiment."""
    whole = np.isfinite(values).all(axis=2)
    rows, seeds = whole.sum(axis=1), values.shape[2]
    mine = np.where(whole[:, :, None], values, 0.0)
    centred = np.where(whole[:, :, None], mine - mine.mean(axis=2, keepdims=True), 0.0)
    luck = centred.sum(axis=1, keepdims=True) / np.maximum(rows, 1)[:, None, None]
    between = rows * (luck**2).sum(axis=(1, 2)) / (seeds - 1)
    rest = np.where(whole[:, :, None], centred - luck, 0.0)
    degrees = np.maximum((rows - 1) * (seeds - 1), 1)
    ratio = between / ((rest**2).sum(axis=(1, 2)) / degrees + 1e-300)
    return (rows > 1) & (fdtrc(seeds - 1, degrees, ratio) < PAIRING_ALPHA)


def compare(given: Prepared, cell: int, margin: float | None) -> Compared:
    """Compares a cell with the first in all experiments; p-values are not corrected."""
    several = given.scaled.shape[1] > 2
    both = given.scaled[:, [cell, 0]]
    there, seeds = np.isfinite(both), both.shape[2]
    grouped = _grouped(given, both)
    told, did, chosen = _counted(given, both, [cell, 0], grouped)
    values = np.where(chosen, both, np.nan)
    counted = told != ""
    ran = (there | given.failed[:, [cell, 0]]).sum(axis=2)
    assert (ran == seeds).all(), "every run ended"
    p_counts, ends = np.full(len(both), np.nan), np.full((len(both), 2), np.nan)
    tallies = did.sum(axis=2)
    for place in np.flatnonzero(counted):
        x, y = map(int, tallies[place])
        p_counts[place] = probability_test(x, seeds, y, seeds)
        ends[place] = probability_difference(x, seeds, y, seeds)
    level = _levels(values, given.pairing)
    by_steps = (told == "reached") & (tallies.min(axis=1) == 0)
    few = grouped & (np.isfinite(given.scaled).sum(axis=(1, 2)) < LEAST_GROUPED)
    level = replace(
        level,
        value=np.where(by_steps, np.nan, level.value),
        error=np.where(by_steps | few, np.nan, level.error),
    )
    test = level.in_family() if several else level
    p = test.p_value()
    equivalence = np.full(len(both), np.nan) if margin is None else test.p_equivalence(margin)
    half = level.half_width()
    interval = np.array([level.value - half, level.value + half])
    two_ended = given.limits is not None and np.isfinite(given.limits).all()
    for place in np.flatnonzero(two_ended & ~given.ratio & np.isfinite(level.error)):
        whole = values[place][:, np.isfinite(values[place]).all(axis=0)]
        together = bool(given.pairing[place]) and whole.shape[1] > 1
        sides = whole if together else [each[np.isfinite(each)] for each in values[place]]
        made = bounded_difference(sides[0], sides[1], given.limits, together)
        level.value[place], interval[:, place] = made.value, made.interval()
        p[place] = made.p_value(in_family=several)
        if margin is not None:
            equivalence[place] = made.p_equivalence(margin, several)
    tested = np.isfinite(p)
    both_p = np.fmin(p, p_counts) * np.where(tested & counted, 2, 1)
    ranked = (grouped & np.isnan(given.horizon)) | (
        np.isfinite(given.horizon) & (told == "reached")
    )
    for place in np.flatnonzero(ranked):
        both_p[place] = _rank_p(given, both, cell, place)
    above = (given.scaled > given.cut[:, None, None])[:, [cell, 0]].sum(axis=(1, 2))
    return Compared(
        level, interval, np.minimum(both_p, 1.0), equivalence, told,
        above * 2 >= there.sum(axis=(1, 2)), ends, given.ratio,
    )  # fmt: skip


def _grouped(given: Prepared, both: Array) -> Array:
    """Whether runs of two groups are compared, or some of the pair did not reach the step."""
    cut = given.cut[:, None, None]
    with np.errstate(invalid="ignore"):
        mixed = (both > cut).any(axis=(1, 2)) & (both < cut).any(axis=(1, 2))
    return np.isfinite(given.cut) & np.where(np.isfinite(given.horizon), True, mixed)


def _rank_p(given: Prepared, both: Array, cell: int, place: int) -> float:
    """The p-value of the ranks of all runs of one experiment."""
    pairing = bool(given.pairing[place])
    if np.isnan(given.horizon[place]):
        return rank_test(*(Bounds.exactly(each[None]) for each in both[place]), pairing).p
    runs = given.arrivals.at(place).at([cell, 0])
    sides = (runs.at([side]).bounds(runs.horizon) for side in (0, 1))
    return rank_test(*sides, pairing).p


def _counted(
    given: Prepared, both: Array, places: list[int], grouped: Array
) -> tuple[Array, Array, Array]:
    """What is counted ("" for nothing), the runs that did, and those whose levels are compared."""
    there, cut = np.isfinite(both), given.cut[:, None, None]
    failed, reached = given.failed[:, places], given.reached[:, places]
    missed_by = np.isfinite(given.arrivals.not_before[:, places]).any(axis=(1, 2))
    steps = np.isfinite(given.horizon) & missed_by
    grouped = grouped & (np.isnan(given.horizon) | steps)
    above = there & (both > cut)
    did = there & (both < cut) if given.better == "lower" else above
    few = (above.sum(axis=(1, 2)) * 2 < there.sum(axis=(1, 2)))[:, None, None]
    group = np.where(few, there & ~above, did) if given.better is None else did
    missed = steps & (there & ~reached).any(axis=(1, 2))
    lost = failed.any(axis=(1, 2))
    told = np.select(
        [grouped & steps, grouped, lost, missed],
        ["reached", "learnt" if given.better else "above", "finished", "reached"],
        "",
    )
    wide = [each[:, None, None] for each in (grouped & steps, grouped, lost, missed)]
    return (
        told,
        np.select(wide, [reached, did, there, reached], there),
        np.select(wide, [reached, group, there, there], there),
    )


def _levels(values: Array, pairing: Array) -> Difference:
    """The difference of levels: paired where seeds matter; NaN where there is none."""
    whole = np.isfinite(values).all(axis=1, keepdims=True)
    together = np.where(whole, values, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        one, two = paired(together[:, 0], together[:, 1]), unpaired(values[:, 0], values[:, 1])
    return Difference(*(np.where(pairing, getattr(one, name), getattr(two, name))
                        for name in ("value", "error", "degrees", "least")))  # fmt: skip
