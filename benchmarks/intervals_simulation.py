"""Whether intervals and tests of two cells keep their word, on simulated runs of known truth.

``python benchmarks/intervals_simulation.py [--experiments 2000] [--tables 400] [--seed 0]
[--quick] [--keep FILE] [--only PATTERN]`` prints a row for each kind of noise and number of seeds.
``--keep`` writes each row to a file of JSON lines and skips rows that it has, so that a run can be
resumed; each row has its own random stream, so the order does not matter. Experiments are computed
in stacks (``stacked_effects.py``); some of each row are compared with the package.
"""

import argparse
import itertools
import json
import re
import zlib
from functools import cache
from pathlib import Path

import numpy as np
from scipy import stats
from scipy.special import expit, logit
from stacked_effects import Compared, Prepared, compare, prepare

from ablab.read.effects import differences
from ablab.read.effects.results import RunValues, collect
from ablab.read.statistics.array import Array
from ablab.read.statistics.levels import welch

SEEDS = (2, 3, 5, 10, 20)
CHANCES = (1.0, 0.9, 0.8, 0.7, 0.5, 0.2)
LEARNT, STUCK, SPREAD = 0.95, 0.2, 0.02  # two groups of accuracies
HORIZON, LOG_SD = 1000.0, 0.5
CHECKED = 15  # experiments of each row that are compared with the package
PLAIN = ("normal", "t3", "lognormal", "lognormal unequal", "censored", "diverging",
         "near 1", "near 1 unequal", "near 0")  # fmt: skip
NEAR = 0.01  # the median distance from the end of the range


def noises() -> list[str]:
    """The names of all kinds of noise."""
    pairs = itertools.combinations_with_replacement(CHANCES, 2)
    return [*PLAIN, *(f"learn {p:g} vs {q:g}" for p, q in pairs)]


def draw(noise: str, random: np.random.Generator, shift: float, shape: tuple[int, ...]) -> dict:
    """Experiments of (experiments, cells, seeds); all cells but the first are shifted."""
    cells = np.arange(shape[1])[:, None]
    moved = np.where(cells > 0, shift, 0.0)
    out = {"not_before": np.full(shape, np.nan), "failed": np.zeros(shape, bool)}
    if noise == "normal":
        out["value"] = 10 + moved + random.normal(size=shape)
    elif noise == "t3":
        out["value"] = 10 + moved + random.standard_t(3, size=shape) / 3**0.5
    elif noise.startswith("lognormal"):
        sizes = np.where(cells > 0, 1.0, 0.3 if "unequal" in noise else 1.0)
        out["value"] = np.exp(sizes * (random.normal(size=shape) + moved))
    elif noise.startswith("near 1"):  # accuracies; the logit of an error rate is normal
        sizes = np.where(cells > 0, 1.0, 0.3 if "unequal" in noise else 1.0)
        out["value"] = 1 - expit(logit(NEAR) + sizes * random.normal(size=shape) + moved)
    elif noise == "near 0":  # losses
        out["value"] = NEAR * np.exp(random.normal(size=shape) + moved)
    elif noise == "censored":  # a run in 5 does not reach it
        steps = HORIZON * np.exp(LOG_SD * (random.normal(size=shape) + moved - stats.norm.ppf(0.8)))
        out["value"] = np.where(steps <= HORIZON, steps, np.nan)
        out["not_before"] = np.where(steps <= HORIZON, np.nan, HORIZON)
    elif noise == "diverging":
        out["value"] = 10 + moved + random.normal(size=shape)
        out["failed"] = random.random(shape) < 0.2
        out["value"][out["failed"]] = np.nan
    else:
        learnt = random.random(shape) < np.where(cells > 0, *chances(noise)[::-1])
        out["value"] = np.where(learnt, LEARNT, STUCK) + SPREAD * random.normal(size=shape)
        out["value"] += np.where(learnt, moved, 0)
    return out


def range_of(noise: str) -> tuple[float, float] | None:
    """The declared range of the values."""
    return {"near 1": (0.0, 1.0), "near 0": (0.0, np.inf)}.get(noise.removesuffix(" unequal"))


def chances(noise: str) -> tuple[float, float]:
    """The probabilities that a run of the first and of the other cells learns (or finishes)."""
    if not noise.startswith("learn"):
        return 0.8, 0.8
    first, second = noise.removeprefix("learn ").split(" vs ")
    return float(first), float(second)


def truth(noise: str, made: dict, shift: float, given: Prepared, found: Compared) -> Array:
    """What the difference estimates, on its scale (of logarithms where ratios are compared)."""
    ratio = given.ratio
    if noise.startswith("learn"):
        means = []
        for side, chance in enumerate(chances(noise)):
            high, low = LEARNT + shift * side, STUCK
            seen = made["value"][:, side] > (LEARNT + STUCK) / 2
            share = np.where(seen.all(1), 1.0, np.where(seen.any(1), chance, 0.0))  # of kinds seen
            high, low = np.where(ratio, np.log(high), high), np.where(ratio, np.log(low), low)
            means.append(share * high + (1 - share) * low)
        moved = np.where(ratio, np.log1p(shift / LEARNT), shift)
        larger = np.where(found.above, moved, 0.0)  # where the larger group was compared
        return np.select(
            [found.told == "above", found.told != ""], [larger, moved], means[1] - means[0]
        )
    if noise.startswith("near 1"):
        return np.full(len(ratio), expit(logit(1 - NEAR) - shift) - (1 - NEAR))
    if noise == "near 0":
        return np.where(ratio, shift, NEAR * (np.exp(shift) - 1))
    if noise.startswith("lognormal"):  # of medians
        return np.where(ratio, shift, np.exp(shift) - 1)
    if noise == "censored":
        up_to = np.isfinite(given.horizon) & np.isnan(given.cut)
        apart = [[mean_steps(shift, up, log) - mean_steps(0.0, up, log) for log in (False, True)]
                 for up in (False, True)]  # fmt: skip
        return np.where(up_to, np.where(ratio, *apart[1][::-1]), np.where(ratio, *apart[0][::-1]))
    return np.where(ratio, np.log1p(shift / 10), shift)


@cache
def mean_steps(moved: float, horizon: bool, logarithm: bool) -> float:
    """The mean (of the logarithm) of censored steps: up to the horizon, or of those reached."""
    z = stats.norm.ppf((np.arange(20000) + 0.5) / 20000)
    steps = HORIZON * np.exp(LOG_SD * (z + moved - stats.norm.ppf(0.8)))
    steps = np.minimum(steps, HORIZON) if horizon else steps[steps <= HORIZON]
    return float(np.log(steps).mean() if logarithm else steps.mean())


def plain_welch(made: dict, noise: str) -> tuple[Array, Array]:
    """The width of Welch's interval and its p-value, of values alone (logs of lognormal ones)."""
    values = made["value"]
    if noise.startswith(("lognormal", "near 0")) or noise == "censored":
        values = np.log(values)
    found = welch(values[:, 1], values[:, 0])
    return 2 * found.half_width(), np.nan_to_num(found.p_value(), nan=1.0)


def decided(p: Array) -> Array:
    """Whether any of (comparisons, experiments) differs, after Holm's correction."""
    tested = np.isfinite(p).sum(axis=0)
    return np.where(np.isfinite(p), p, 1.0).min(axis=0) * tested <= 0.05


def check(made: dict, better: str | None, margin: float | None, given: Prepared) -> None:
    """Compares some experiments with the package itself.

    Raises:
        AssertionError: They differ.
    """
    cells, seeds = made["value"].shape[1:]
    stacks = [compare(given, cell, margin) for cell in range(1, cells)]
    p = np.stack([each.p for each in stacks])
    for place in range(min(CHECKED if cells == 2 else 3, len(made["value"]))):
        axis = {"a": tuple(range(cells))}
        mine = [made[name][place] for name in ("value", "not_before", "failed")]
        runs = RunValues(axis, tuple(range(seeds)), *mine, cells * seeds)
        results = collect(runs, better=better, limits=given.limits)
        ratio = results.scale == "ratio"
        assert ratio == given.ratio[place]
        limit = float(np.exp(margin)) if margin is not None and ratio else margin
        told = differences(results, margin=limit)
        for stack, each in zip(stacks, told, strict=True):
            assert (each.interval is not None) == (stack.shown & ~stack.told_as_wide)[place]
            assert ("" if each.counts is None else each.counts.what) == stack.told[place]
            assert np.allclose(stack.p[place], np.nan if each.p is None else each.p, equal_nan=True)
            if each.interval is not None:
                ends = np.log(each.interval) if ratio else each.interval
                assert np.allclose(ends, stack.interval[:, place])
            if cells == 2 and margin is not None:
                known = stack.p[place] <= 0.05, stack.p_equivalence[place] <= 0.05
                verdict = "differs" if known[0] else "equivalent_among_seen"
                assert each.verdict == (verdict if any(known) else "undecided")
        assert any(each.verdict == "differs" for each in told) == decided(p[:, [place]])[0]


def study(noise: str, seeds: int, experiments: int, tables: int, seed: int) -> dict:
    """The rates of one kind of noise and number of seeds."""
    random = np.random.default_rng([seed, zlib.crc32(f"{noise} {seeds}".encode())])
    learn = noise.startswith("learn")
    better, margin = ("higher", 0.1) if learn else (None, 1.0)  # the shift
    limit = abs(expit(logit(NEAR) + 1) - NEAR) if noise.startswith("near 1") else margin
    shape = (experiments, 2, seeds)
    made = draw(noise, random, margin, shape)  # the difference is as large as the margin
    limits = range_of(noise)
    given = prepare(made, better, limits)
    found = compare(given, 1, limit)
    check(made, better, limit, given)
    actual = truth(noise, made, margin, given, found)
    shown = found.shown
    same = shown & (given.ratio | (not noise.startswith(("lognormal", "censored"))))
    with np.errstate(invalid="ignore"):
        covered = (found.interval[0] <= actual) & (actual <= found.interval[1])
        equivalent = (found.p > 0.05) & (found.p_equivalence <= 0.05)
    false = np.abs(actual) >= limit - 1e-9
    counted = np.isin(found.told, ["learnt", "above", "finished"])
    apart = chances(noise)[1] - chances(noise)[0]
    right = (found.ends[:, 0] <= apart) & (apart <= found.ends[:, 1])
    widths, other = np.diff(found.interval, axis=0)[0, same], plain_welch(made, noise)[0][same]
    rates = {
        "noise": noise,
        "seeds": seeds,
        "covers": percent(covered[shown]),
        "width": round(float(np.nanmedian(widths) / np.nanmedian(other)), 2)
        if np.isfinite(other).any() else None,
        "nothing shown": percent(~shown),
        "counts told": percent(found.told != ""),
        "counts cover": percent(right[counted]),
        "false finding": false_findings(noise, random, (tables, 11, seeds), better),
        "false equivalence": percent(equivalent & false),
    }  # fmt: skip
    for size in (1, 2):
        rates |= {f"power {size}": None, f"welch {size}": None}
        if not learn:
            moved = draw(noise, random, float(size), shape)
            given = prepare(moved, better, limits)
            rates[f"power {size}"] = percent(decided(compare(given, 1, None).p[None]))
            rates[f"welch {size}"] = percent(plain_welch(moved, noise)[1] <= 0.05)
    return rates


def false_findings(
    noise: str, random: np.random.Generator, shape: tuple[int, int, int], better: str | None
) -> float | None:
    """The percentage of tables with a finding, where no setting matters."""
    if chances(noise)[0] != chances(noise)[1]:
        return None
    made = draw(noise, random, 0.0, shape)
    given = prepare(made, better, range_of(noise))
    check(made, better, None, given)
    found = [compare(given, cell, None).p for cell in range(1, shape[1])]
    return percent(decided(np.stack(found)))


def percent(flags: Array) -> float | None:
    """The percentage of true ones; None of none."""
    return round(100 * float(np.mean(flags)), 1) if len(flags) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--experiments", type=int, default=2000)
    parser.add_argument("--tables", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0, help="of all random streams")
    parser.add_argument("--quick", action="store_true", help="100 experiments, 3 and 5 seeds")
    parser.add_argument("--keep", type=Path, help="a file of JSON lines, to resume from")
    parser.add_argument("--only", default="", help="a pattern of rows, as in 'learn .* 5'")
    options = parser.parse_args()
    kept = {}
    if options.keep is not None and options.keep.exists():
        rows = map(json.loads, options.keep.read_text().splitlines())
        kept = {(row["noise"], row["seeds"]): row for row in rows}
    header: list[str] = []
    for noise, seeds in itertools.product(noises(), (3, 5) if options.quick else SEEDS):
        if not re.fullmatch(options.only or ".*", f"{noise} {seeds}"):
            continue
        row = kept.get((noise, seeds))
        if row is None:
            many = (100, 20) if options.quick else (options.experiments, options.tables)
            row = study(noise, seeds, *many, options.seed)
            if options.keep is not None:
                with options.keep.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        if not header:
            header = list(row)
            print("| " + " | ".join(header) + " |\n" + "| --- " * len(header) + "|")
        cells = ("" if each is None else str(each) for each in row.values())
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
