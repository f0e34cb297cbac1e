"""Whether intervals of a single average cover, of columns with a declared range.

``python benchmarks/averages_simulation.py [--experiments 4000]`` prints a row for each kind of
value and number of seeds: coverage in percent of the interval of ``ablab.read.statistics.scales``,
for the median (of counts, the mean), of Student's t-interval for the same, and how often the
latter leaves the range. Experiments in which all values are equal have no interval.
"""

import argparse

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from ablab.read.statistics.array import Array
from ablab.read.statistics.scales import average

SEEDS = (3, 5, 10, 20)
UNIT, POSITIVE = (0.0, 1.0), (0.0, float("inf"))
EVALUATED = 512  # samples of an evaluation


def accuracies(median: float, size: float) -> tuple[dict, float]:
    """Accuracies whose logits are normal."""
    return {"draw": lambda r, n: expit(logit(median) + size * r.normal(size=n))}, median


def evaluated(median: float) -> tuple[dict, float]:
    """The same of an evaluation of 512 samples, so that some are exactly 1."""

    def draw(random: np.random.Generator, n: int) -> Array:
        chance = expit(logit(median) + random.normal(size=n))
        return random.binomial(EVALUATED, chance) / EVALUATED

    every = draw(np.random.default_rng(1), 10**6)
    return {"draw": draw}, float(np.median(every))


KINDS = {
    "accuracy near 1": (*accuracies(0.99, 1.0), UNIT, False),
    "accuracy near a half": (*accuracies(0.5, 0.2), UNIT, False),
    "accuracy of 512 samples, 0.98": (*evaluated(0.98), UNIT, False),
    "accuracy of 512 samples, 0.998": (*evaluated(0.998), UNIT, False),
    "loss near 0": ({"draw": lambda r, n: 0.01 * np.exp(r.normal(size=n))}, 0.01, POSITIVE, False),
    "loss near 2": ({"draw": lambda r, n: 2 + 0.05 * r.normal(size=n)}, 2.0, POSITIVE, False),
    "steps": ({"draw": lambda r, n: 300 * np.exp(0.5 * r.normal(size=n))}, 300.0, POSITIVE, False),
    "counts, Poisson, 1": ({"draw": lambda r, n: r.poisson(1, n) * 1.0}, 1.0, POSITIVE, True),
    "counts, Poisson, 3": ({"draw": lambda r, n: r.poisson(3, n) * 1.0}, 3.0, POSITIVE, True),
    "counts, geometric, 3": (
        {"draw": lambda r, n: r.geometric(0.25, n) - 1.0}, 3.0, POSITIVE, True,
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--experiments", type=int, default=4000)
    experiments = parser.parse_args().experiments
    header = ("values", "seeds", "covers", "t covers", "t leaves the range", "no interval")
    print("| " + " | ".join(header) + " |\n" + "| --- " * len(header) + "|")
    for name, (made, truth, limits, counted) in KINDS.items():
        for seeds in SEEDS:
            random = np.random.default_rng([seeds, len(name)])
            found, plain = [], []
            for _ in range(experiments):
                values = made["draw"](random, seeds)
                ends = average(values, limits, counted).interval
                if ends is None:
                    continue
                t = stats.t.ppf(0.975, seeds - 1) * values.std(ddof=1) / seeds**0.5
                found.append(ends)
                plain.append((values.mean() - t, values.mean() + t))
            mine, students = np.array(found), np.array(plain)
            beyond = (students[:, 0] < limits[0]) | (students[:, 1] > limits[1])
            row = (name, seeds, covers(mine, truth), covers(students, truth), percent(beyond),
                   percent(np.arange(experiments) >= len(found)))  # fmt: skip
            print("| " + " | ".join(map(str, row)) + " |", flush=True)


def covers(ends: Array, truth: float) -> float:
    """The percentage of intervals that contain the truth."""
    rounding = 1e-12
    return percent((ends[:, 0] <= truth + rounding) & (truth - rounding <= ends[:, 1]))


def percent(flags: Array) -> float:
    """The percentage of true ones."""
    return round(100 * float(np.mean(flags)), 1)


if __name__ == "__main__":
    main()
