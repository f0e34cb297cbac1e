"""Whether intervals and tests of two cells keep their word, on simulated runs of known truth.

``python benchmarks/intervals_simulation.py [--experiments 2000] [--tables 500] [--seed 0]
[--quick] [--keep FILE]`` prints a row for each kind of noise and number of seeds. ``--keep`` writes
each row to a file of JSON lines and skips rows that it has, so that a run can be resumed; each row
has its own random stream, so the order does not matter.
"""

import argparse
import itertools
import json
import zlib
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
from scipy import stats

from ablab.read.effects import Comparison, differences
from ablab.read.effects.results import RunValues, collect
from ablab.read.statistics.levels import welch as welch_difference

SEEDS = (2, 3, 5, 10, 20)
CHANCES = (1.0, 0.9, 0.8, 0.7, 0.5, 0.2)
LEARNT, STUCK, SPREAD = 0.95, 0.2, 0.02  # two groups of accuracies
HORIZON, LOG_SD = 1000.0, 0.5
PLAIN = ("normal", "t3", "lognormal", "lognormal unequal", "censored", "diverging")


def noises() -> list[str]:
    """The names of all kinds of noise."""
    pairs = itertools.combinations_with_replacement(CHANCES, 2)
    return [*PLAIN, *(f"learn {p:g} vs {q:g}" for p, q in pairs)]


def draw(noise: str, random: np.random.Generator, shift: float, cells: int, seeds: int) -> dict:
    """One experiment: ``value``, ``not_before``, ``reason`` of (cells, seeds); 1.. are shifted."""
    shape = (cells, seeds)
    moved = np.where(np.arange(cells) > 0, shift, 0.0)[:, None]
    out = {"not_before": np.full(shape, np.nan), "failed": np.zeros(shape, bool)}
    if noise == "normal":
        out["value"] = 10 + moved + random.normal(size=shape)
    elif noise == "t3":
        out["value"] = 10 + moved + random.standard_t(3, size=shape) / 3**0.5
    elif noise.startswith("lognormal"):
        sizes = np.where(np.arange(cells) > 0, 1.0, 0.3 if "unequal" in noise else 1.0)[:, None]
        out["value"] = np.exp(sizes * (random.normal(size=shape) + moved))
    elif noise == "censored":  # a run in 5 does not reach it
        steps = HORIZON * np.exp(LOG_SD * (random.normal(size=shape) + moved - stats.norm.ppf(0.8)))
        out["value"] = np.where(steps <= HORIZON, steps, np.nan)
        out["not_before"] = np.where(steps <= HORIZON, np.nan, HORIZON)
    elif noise == "diverging":
        out["value"] = 10 + moved + random.normal(size=shape)
        out["failed"] = random.random(shape) < 0.2
        out["value"][out["failed"]] = np.nan
    else:
        chances = [float(part) for part in noise.removeprefix("learn ").split(" vs ")]
        chance = np.where(np.arange(cells) > 0, chances[1], chances[0])[:, None]
        learnt = random.random(shape) < chance
        out["value"] = np.where(learnt, LEARNT, STUCK) + SPREAD * random.normal(size=shape)
        out["value"] += np.where(learnt, moved, 0)
    return out


def compare(made: dict, margin: float | None, noise: str) -> list[Comparison]:
    """The comparisons of one experiment with its first cell."""
    cells, seeds = made["value"].shape
    given = RunValues(
        {"a": tuple(range(cells))}, tuple(range(seeds)), made["value"], made["not_before"],
        made["failed"], cells * seeds,
    )  # fmt: skip
    results = collect(given, better="higher" if noise.startswith("learn") else None)
    if margin is not None and results.scale == "ratio":
        margin = float(np.exp(margin))
    return list(differences(results, margin=margin))


def truth(noise: str, made: dict, shift: float, found: Comparison) -> float:
    """What the shown difference estimates, on its scale."""
    ratio = found.scale == "ratio"
    if noise.startswith("learn"):
        counts = found.counts
        if counts is not None and counts.what != "above":
            return 1 + shift / LEARNT if ratio else shift
        if counts is not None:  # the larger group was compared
            above = (made["value"] > (LEARNT + STUCK) / 2).sum() * 2 >= made["value"].size
            return shift if above else 0.0
        chances = [float(part) for part in noise.removeprefix("learn ").split(" vs ")]
        means = []
        for side, chance in enumerate(chances):
            high, low = LEARNT + shift * side, STUCK
            seen = made["value"][side] > (LEARNT + STUCK) / 2
            pure = seen.all() or not seen.any()
            share = float(seen.all()) if pure else chance  # of runs of the kinds seen
            if ratio:  # of geometric means
                high, low = float(np.log(high)), float(np.log(low))
            means.append(share * high + (1 - share) * low)
        return float(np.exp(means[1] - means[0])) if ratio else means[1] - means[0]
    if noise.startswith("lognormal"):
        sizes = (0.3, 1.0) if "unequal" in noise else (1.0, 1.0)
        medians = float(np.exp(sizes[1] * shift))
        return medians if ratio else medians - 1
    if noise == "censored":
        horizon = "of steps up to" in found.estimand
        means = [mean_steps(moved, horizon, ratio) for moved in (0.0, shift)]
        return float(np.exp(means[1] - means[0]) if ratio else means[1] - means[0])
    return (10 + shift) / 10 if ratio else shift


@cache
def mean_steps(moved: float, horizon: bool, logarithm: bool) -> float:
    """The mean of (the logarithm of) the steps of censored noise, up to the horizon if asked."""
    z = stats.norm.ppf((np.arange(20000) + 0.5) / 20000)
    steps = HORIZON * np.exp(LOG_SD * (z + moved - stats.norm.ppf(0.8)))
    steps = np.minimum(steps, HORIZON) if horizon else steps
    return float(np.log(steps).mean() if logarithm else steps.mean())


def chances_differ(noise: str) -> bool:
    """Whether a statement on the mean of all runs would be false (the margin is reached)."""
    return not noise.startswith("learn") or noise.split()[1] != noise.split()[3]


def welch(made: dict, noise: str) -> tuple[float, float]:
    """The width of Welch's interval and its p-value, of values alone (logs of lognormal ones)."""
    first, second = (side[np.isfinite(side)] for side in made["value"][[1, 0]])
    if noise.startswith("lognormal") or noise == "censored":
        first, second = np.log(first), np.log(second)
    if min(len(first), len(second)) < 2:
        return float("nan"), 1.0
    found = welch_difference(first, second)  # SciPy's, which takes milliseconds
    return float(2 * found.half_width()), float(found.p_value())


def study(noise: str, seeds: int, experiments: int, tables: int, seed: int) -> dict:
    """The rates of one kind of noise and number of seeds."""
    random = np.random.default_rng([seed, zlib.crc32(f"{noise} {seeds}".encode())])
    counts: Counter[str] = Counter()
    widths, other_widths = [], []
    learn = noise.startswith("learn")
    margin = 0.1 if learn else 1.0
    for _ in range(experiments):
        made = draw(noise, random, margin, 2, seeds)  # the difference is as large as the margin
        (found,) = compare(made, margin, noise)
        actual = truth(noise, made, margin, found)
        counts["shown"] += found.interval is not None
        if found.interval is not None:
            low, high = found.interval
            counts["covered"] += low <= actual <= high
            width = np.log(high / low) if found.scale == "ratio" else high - low
            same = found.scale == "ratio" or not noise.startswith(("lognormal", "censored"))
            if same:
                widths.append(width)
                other_widths.append(welch(made, noise)[0])
        limit = np.log(actual) if found.scale == "ratio" else actual
        false = abs(limit) >= margin - 1e-9
        counts["equivalent"] += found.verdict.startswith("equivalent") and false
        counts["equivalent of all"] += found.verdict == "equivalent" and chances_differ(noise)
        told = found.counts
        if told is not None:
            counts["told"] += 1
            if told.what in ("learnt", "above", "finished"):
                chances = (0.8, 0.8)
                if learn:
                    chances = [float(p) for p in noise.removeprefix("learn ").split(" vs ")]
                low, high = told.interval
                counts["of counts"] += 1
                counts["counts covered"] += low <= chances[1] - chances[0] <= high
        if not learn:
            for size in (1, 2):
                moved = draw(noise, random, float(size), 2, seeds)
                (found,) = compare(moved, None, noise)
                counts[f"power {size}"] += found.verdict == "differs"
                counts[f"welch {size}"] += welch(moved, noise)[1] <= 0.05
    if learn and noise.split()[1] != noise.split()[3]:
        tables = 0
    for _ in range(tables):
        made = draw(noise, random, 0.0, 11, seeds)
        counts["false"] += any(each.verdict == "differs" for each in compare(made, None, noise))

    def share(name: str, of: float) -> float | None:
        return round(100 * counts[name] / of, 1) if of else None

    return {
        "noise": noise,
        "seeds": seeds,
        "covers": share("covered", counts["shown"]),
        "width": round(float(np.nanmedian(widths) / np.nanmedian(other_widths)), 2)
        if widths and np.isfinite(other_widths).any() else None,
        "nothing shown": round(100 - (share("shown", experiments) or 0), 1),
        "counts told": share("told", experiments),
        "counts cover": share("counts covered", counts["of counts"]),
        "false finding": share("false", tables),
        "false equivalence": share("equivalent", experiments),
        "of all runs": share("equivalent of all", experiments),
        **{
            f"{who} {size}": None if learn else share(f"{who} {size}", experiments)
            for who in ("power", "welch") for size in (1, 2)
        },
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--experiments", type=int, default=2000)
    parser.add_argument("--tables", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="of all random streams")
    parser.add_argument("--quick", action="store_true", help="100 experiments, 3 and 5 seeds")
    parser.add_argument("--keep", type=Path, help="a file of JSON lines, to resume from")
    options = parser.parse_args()
    kept = {}
    if options.keep is not None and options.keep.exists():
        rows = map(json.loads, options.keep.read_text().splitlines())
        kept = {(row["noise"], row["seeds"]): row for row in rows}
    header: list[str] = []
    for noise, seeds in itertools.product(noises(), (3, 5) if options.quick else SEEDS):
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
