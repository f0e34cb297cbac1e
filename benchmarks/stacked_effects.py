"""Many simulated experiments at once, compared as ``ablab.read.effects.differences`` does.

One axis, whose first value is the base. The statistics are the package's own, which take stacks;
only what joins them is written for stacks here. ``intervals_simulation.py`` compares some
experiments of each row with the package itself.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import fdtrc

from ablab.read.effects.pairwise import LEAST_GROUPED
from ablab.read.effects.results import RATIO_SPAN, SKEWED
from ablab.read.statistics.array import Array
from ablab.read.statistics.counts import probability_difference, probability_test
from ablab.read.statistics.groups import notice_cut
from ablab.read.statistics.levels import PAIRING_ALPHA, Difference, paired, spread, unpaired

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


@dataclass
class Compared:
    """Stacks of comparisons of one cell with the first, each (experiments,).

    ``level`` is on the scale; NaN errors where there is no interval. ``told`` says what is counted.
    """

    level: Difference
    p: Array
    p_equivalence: Array
    told: Array
    above: Array
    ends: Array

    @property
    def shown(self) -> Array:
        """Whether there is an interval."""
        return np.isfinite(self.level.error)


def prepare(made: dict, better: str | None) -> Prepared:
    """The scale, groups, horizon and pairing of experiments, (experiments, cells, seeds)."""
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
    scaled = np.where(ratio[:, None, None], logs, values)
    cut = np.where(ratio, np.nan, raw)
    cut[ratio] = notice_cut(scaled[ratio]) if ratio.any() else np.nan
    one = _one_group(scaled, cut, np.isfinite(horizon), reached, better)
    return Prepared(scaled, ratio, cut, _pairing(one), reached, horizon, made["failed"], better)


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
    told, did, chosen = _counted(given, both, [cell, 0])
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
    few = np.isfinite(given.cut) & (np.isfinite(given.scaled).sum(axis=(1, 2)) < LEAST_GROUPED)
    level = replace(
        level,
        value=np.where(by_steps, np.nan, level.value),
        error=np.where(by_steps | few, np.nan, level.error),
    )
    test = level.in_family() if several else level
    p = test.p_value()
    tested = np.isfinite(p)
    restricted = (told == "reached") & np.isnan(given.cut)
    also = counted & ~(restricted & tested)
    both_p = np.fmin(p, np.where(also, p_counts, np.nan)) * np.where(tested & also, 2, 1)
    equivalence = np.full(len(both), np.nan) if margin is None else test.p_equivalence(margin)
    above = (given.scaled > given.cut[:, None, None])[:, [cell, 0]].sum(axis=(1, 2))
    return Compared(
        level, np.minimum(both_p, 1.0), equivalence, told,
        above * 2 >= there.sum(axis=(1, 2)), ends,
    )  # fmt: skip


def _counted(given: Prepared, both: Array, places: list[int]) -> tuple[Array, Array, Array]:
    """What is counted ("" for nothing), the runs that did, and those whose levels are compared."""
    there, cut = np.isfinite(both), given.cut[:, None, None]
    failed, reached = given.failed[:, places], given.reached[:, places]
    grouped, steps = np.isfinite(given.cut), np.isfinite(given.horizon)
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
