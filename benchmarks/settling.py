"""Settling by adding seeds, simulated: false verdicts, coverage, and what it saves.

    python benchmarks/settling.py [errors] [coverage] [savings] [--experiments 2000]

Each experiment compares two variants whose runs are drawn from a known distribution, with seeds
{from: 3, to: 40}, by the code that judges stored runs: only training is left out. Draws of runs:

- normal; normal with half of the variance shared by the runs of a seed; normal, the variants'
  standard deviations 1 and 3
- lognormal, with a standard deviation of 1 of the logarithm
- bimodal: a run learns with probability 0.5 and then ends at 0.1, else at 2.3, each with noise
- censored: lognormal steps, of which 40% are beyond the last step

Errors: how often the verdict is false if both variants are alike (lower), and how often two are
called the same that differ by the margin (same). Coverage: how often the interval at the end
contains the difference (the ratio, for lognormal), however it ended. Savings: seeds of a variant
until the end, averaged over differences of 0, 0.5, 1 and 2 standard deviations, beside the fixed
number of seeds that decides a difference of 0.5 as often, each tested at 5%.
"""

import argparse
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import repeat

import numpy as np
import polars as pl

from ablab.experiments import experiment
from ablab.experiments.expectations import parse_expectation
from ablab.experiments.seeds import Settling
from ablab.read.judging import judge_frame
from ablab.read.settling import settle_expectation
from ablab.store import Store

FIRST, LAST = 3, 40
CELL, OTHER = "where model.d_model=16", "where model.d_model=8"
LOSS, STEP = "final(eval_loss)", "steps_to(eval_loss, 1)"
HORIZON = 3000
KINDS = (
    "normal", "normal, seeds shared", "normal, 1 and 3", "lognormal", "bimodal", "censored"
)  # fmt: skip


@cache
def stored():
    """A store with an experiment of two variants; nothing is trained."""
    store = Store(tempfile.mkdtemp(prefix="ablab-settling-"), create=True)
    made = experiment(
        {
            "name": "settling",
            "task": {"kind": "addition", "n_digits": 2},
            "model": {"n_layers": 1, "n_heads": 1},
            "train": {"steps": HORIZON},
            "grid": {"model.d_model": [8, 16]},
            "seeds": Settling(FIRST, LAST).as_data(),
        }
    )
    return store, store.register(made, "", {})


def draw(kind: str, difference: float, random: np.random.Generator):
    """Values of both variants, (2, seeds); infinite if the step was not reached."""
    noise = random.standard_normal((2, LAST))
    moved = np.array([[0.0], [difference]])
    match kind:
        case "normal":
            return 10 + noise + moved
        case "normal, seeds shared":
            return 10 + (noise + random.standard_normal(LAST)) / 2**0.5 + moved
        case "normal, 1 and 3":
            return 10 + noise * np.array([[1.0], [3.0]]) + moved
        case "lognormal":
            return np.exp(noise + moved)
        case "bimodal":
            learnt = random.random((2, LAST)) < 0.5
            return np.where(learnt, 0.1, 2.3) * np.exp(0.05 * noise) + moved
        case "censored":
            steps = np.round(2400 * np.exp(noise + moved))
            return np.where(steps > HORIZON, np.inf, steps)
    raise ValueError(kind)


def frame(values) -> pl.DataFrame:
    """Measured runs as ablab's readers have them."""
    reached = np.isfinite(values)
    rows = [(width, seed) for width in (8, 16) for seed in range(LAST)]
    flat, there = values.ravel(), reached.ravel()
    return pl.DataFrame(
        {
            "run": [f"{width}-{seed}" for width, seed in rows],
            "model.d_model": [width for width, _ in rows],
            "seed": [seed for _, seed in rows],
            "value": [float(v) if r else None for v, r in zip(flat, there, strict=True)],
            "not_before": [None if r else float(HORIZON) for r in there],
            "reason": pl.Series([None] * len(rows), dtype=pl.String),
            "status": ["finished"] * len(rows),
        },
        schema_overrides={"value": pl.Float64, "not_before": pl.Float64},
    )


def settled(kind: str, difference: float, relation: str, seed: int):
    """The outcome of one experiment, its seeds, its interval."""
    store, record = stored()
    measure = STEP if kind == "censored" else LOSS
    sentence = {
        "lower": f"{measure} is lower {CELL} than {OTHER}",
        "same": f"{measure} is the same {CELL} as {OTHER} within 1",
    }[relation]
    key = [seed, KINDS.index(kind), round(10 * difference), relation == "same"]
    values = draw(kind, difference, np.random.default_rng(key))
    found = settle_expectation(store, record, parse_expectation(sentence), frame(values))
    return found.found.outcome, found.seeds, found.found.interval, found.found.estimand


def fixed(seeds: int, difference: float, seed: int) -> str:
    """The outcome of one experiment with a fixed number of seeds, at 5%."""
    store, record = stored()
    values = draw("normal", difference, np.random.default_rng([seed, seeds]))
    runs = frame(values).filter(pl.col("seed") < seeds)
    expected = parse_expectation(f"{LOSS} is higher {CELL} than {OTHER}")
    return judge_frame(store, record, expected, runs).outcome


def many(pool, function, count: int, *arguments):
    """The results of many experiments."""
    fill = [repeat(each) for each in arguments]
    return list(pool.map(function, *fill, range(count), chunksize=50))


def errors(pool, count: int) -> None:
    """False verdicts."""
    print("| runs | relation | truth | held | failed | false | seeds, mean |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    rows = [(kind, "lower", 0.0) for kind in KINDS]
    rows += [(kind, "same", 1.0) for kind in KINDS[:3]]
    for kind, relation, truth in rows:
        found = many(pool, settled, count, kind, truth, relation)
        outcomes = [each[0] for each in found]
        held, failed = (outcomes.count(each) / count for each in ("held", "failed"))
        false = held if relation == "same" else held + failed
        seeds = np.mean([each[1] for each in found])
        print(f"| {kind} | {relation} | {'alike' if not truth else f'apart by {truth:g}'} | "
              f"{held:.1%} | {failed:.1%} | {false:.1%} | {seeds:.1f} |", flush=True)  # fmt: skip


def coverage(pool, count: int) -> None:
    """Coverage of the interval at the end; where there is none, nothing is said to be covered."""
    print(
        "\n| runs | difference | covered | ended with an interval | wrong, of all | seeds, mean |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for kind in KINDS:
        for difference in (0.0, 0.5, 1.0, 2.0):
            found = many(pool, settled, count, kind, difference, "lower")
            known = [each for each in found if each[2] is not None]
            covered = []
            for _, _, (low, high), estimand in known:
                truth = np.exp(difference) if estimand == "ratio" else difference
                if kind == "lognormal" and estimand != "ratio":
                    truth = np.exp(0.5) * (np.exp(difference) - 1)
                covered.append(bool(low <= truth <= high))
            seeds = np.mean([each[1] for each in found])
            share, wrong = len(known) / count, covered.count(False) / count
            among = f"{np.mean(covered):.1%}" if known else "–"
            print(f"| {kind} | {difference:g} | {among} | {share:.0%} | {wrong:.1%} | "
                  f"{seeds:.1f} |", flush=True)  # fmt: skip


def savings(pool, count: int) -> None:
    """Seeds until the end, beside a fixed number."""
    print("\n| difference, sd | decided rightly | seeds, mean |")
    print("| --- | --- | --- |")
    means, power = [], {}
    for difference in (0.0, 0.5, 1.0, 2.0):
        found = many(pool, settled, count, "normal", difference, "lower")
        power[difference] = np.mean([each[0] == "failed" for each in found])
        means.append(np.mean([each[1] for each in found]))
        print(f"| {difference:g} | {power[difference]:.1%} | {means[-1]:.1f} |", flush=True)
    for seeds in range(16, LAST + 1):
        outcomes = many(pool, fixed, count, seeds, 0.5)
        if outcomes.count("held") / count >= power[0.5]:
            break
    mean = np.mean(means)
    print(f"\nmean over the differences {mean:.1f} seeds; fixed, with the power of "
          f"{power[0.5]:.0%} at 0.5: {seeds} seeds; ratio {seeds / mean:.2f}")  # fmt: skip


def main() -> None:
    """Simulates and prints tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["errors", "coverage", "savings"])
    parser.add_argument("--experiments", type=int, default=2000)
    options = parser.parse_args()
    print(f"{options.experiments:,} experiments a row\n")
    with ProcessPoolExecutor(2) as pool:
        for part in options.parts:
            {"errors": errors, "coverage": coverage, "savings": savings}[part](
                pool, options.experiments
            )


if __name__ == "__main__":
    main()
