"""How often verdicts on steps that some runs do not reach are decided, in simulated experiments.

``python benchmarks/steps_not_reached.py [--experiments 400]`` prints a row for each number of seeds
and each pair of cells: the shares of "lower" and of "the same" within 50 steps that held and that
failed, as judged now, and if each run's last step stood for the step that it did not reach.
"""

import argparse

import numpy as np
import polars as pl

from ablab.experiments.expectations import Expectation, parse_expectation
from ablab.experiments.measures import parse_measure
from ablab.read import comparisons, not_reached
from ablab.read.hypothesis_tests import Sample
from ablab.read.judgements import Found
from ablab.read.quantity import Quantity

MEASURE = parse_measure("steps_to(loss, 0.1)")
STEPS = Quantity((0.0, np.inf), steps=True, unit=" steps")
CLAIMS = {
    "lower": "steps_to(loss, 0.1) is lower where a=1 than where a=2",
    "same": "steps_to(loss, 0.1) is the same where a=1 as where a=2 within 50",
}
# The probabilities that a run of the two cells gets there, and the median steps if it does.
PAIRS = [(0.5, 0.5, 150, 150), (0.8, 0.8, 150, 150), (1, 1, 150, 150), (1, 0.2, 150, 150),
         (0.9, 0.3, 150, 150), (0.8, 0.8, 90, 150)]  # fmt: skip
END = 400  # the last step of every run
SPREAD = 0.3  # of the logarithm of the step


def cell(random: np.random.Generator, chance: float, median: float, seeds: int) -> Sample:
    there = random.random(seeds) < chance
    steps = np.where(there, random.lognormal(np.log(median), SPREAD, seeds), np.inf)
    values = [float(step) if step <= END else None for step in steps]
    frame = pl.DataFrame(
        {
            "seed": range(seeds),
            "value": pl.Series(values, dtype=pl.Float64),
            "not_before": pl.Series([None if v else END for v in values], dtype=pl.Int64),
            "reason": pl.Series([None] * seeds, dtype=pl.String),
            "status": ["finished"] * seeds,
        }
    )
    return Sample(frame, [])


def by_last_step(sample: Sample) -> Sample:
    """The sample as if runs had reached the step at their end."""
    filled = pl.col("value").fill_null(pl.col("not_before"))
    return Sample(sample.frame.with_columns(value=filled, not_before=pl.lit(None)), [])


def judge(sample: Sample, other: Sample, claim: Expectation) -> Found:
    if sample.unreached or other.unreached:
        return not_reached.compare(sample, other, claim, MEASURE, False)
    return comparisons.compare(sample, other, claim, STEPS, False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=400)
    experiments = parser.parse_args().experiments
    claims = {name: parse_expectation(text) for name, text in CLAIMS.items()}
    random = np.random.default_rng(0)
    print("seeds  reach       median step  " + "  ".join(
        f"{name}, {how}: held failed" for name in claims for how in ("last step", "now")
    ))  # fmt: skip
    for seeds in (3, 5, 10):
        for one, two, early, late in PAIRS:
            found: dict[tuple[str, str], list[str]] = {}
            for _ in range(experiments):
                cells = cell(random, one, early, seeds), cell(random, two, late, seeds)
                filled = [by_last_step(each) for each in cells]
                for name, claim in claims.items():
                    for how, pair in (("last step", filled), ("now", cells)):
                        outcome = judge(*pair, claim).outcome
                        found.setdefault((name, how), []).append(outcome)
            shares = "  ".join(
                f"{each.count('held') / experiments:.3f} {each.count('failed') / experiments:.3f}"
                for each in found.values()
            )
            print(f"{seeds:5}  {one} vs {two}  {early} vs {late}  {shares}", flush=True)


if __name__ == "__main__":
    main()
