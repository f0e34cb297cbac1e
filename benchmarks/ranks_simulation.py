"""How often ranks within cells find an effect where there is none, and where there is one.

``python benchmarks/ranks_simulation.py [--experiments 1000]`` prints a row for each number of seeds
and cells, and for shares of the variance that runs of a seed have in common over all cells, and
that runs of a seed and one value of the setting have. *found*: the test of
``ablab.read.statistics.ranks``; *within cells*: van Elteren's statistic by permutation within cells
alone; *t of seeds*: Welch's or the paired t-test of the seeds' scores alone; *power*: of the first,
for an effect of one standard deviation.
"""

import argparse

import numpy as np

from ablab.read.statistics import ranks
from ablab.read.statistics.array import Array
from ablab.read.statistics.ranks import Bounds, first, scores

SHARES = ((0.0, 0.0), (0.0, 0.3), (0.0, 0.8), (0.5, 0.0), (0.5, 0.2))
ALPHA = 0.05


def draw(random: np.random.Generator, seeds: int, cells: int, shares: tuple[float, float]) -> Array:
    """Values of (2, cells, seeds), without an effect; cells are of very different size."""
    seed, setting = shares
    found = np.sqrt(1 - seed - setting) * random.normal(size=(2, cells, seeds))
    found += np.sqrt(seed) * random.normal(size=seeds)
    found += np.sqrt(setting) * random.normal(size=(2, 1, seeds))
    return found


def tests(values: Array, blocks: bool) -> tuple[float, float, float]:
    """The p-values of the test, and of its two parts."""
    one, two = map(Bounds.exactly, values)
    p = min(first(one, two, blocks), first(two, one, blocks))
    runs = scores(list(values))
    x, y = (each.sum(axis=0) for each in runs)
    return p, ranks._within_cells(*runs, blocks), ranks._t_test(x, y, blocks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--experiments", type=int, default=1000)
    experiments = parser.parse_args().experiments
    header = ("seeds", "cells", "seed in common", "and setting", "found", "within cells",
              "t of seeds", "power")  # fmt: skip
    print("| " + " | ".join(header) + " |\n" + "| --- " * len(header) + "|")
    for seeds in (3, 5, 8):
        for cells in (1, 2, 6):
            for shares in SHARES:
                random = np.random.default_rng([seeds, cells, *(int(100 * s) for s in shares)])
                made = [draw(random, seeds, cells, shares) for _ in range(experiments)]
                blocks = shares[0] > 0
                false = np.array([tests(each, blocks) for each in made]) <= ALPHA
                moved = [each + np.array([0.0, 1.0])[:, None, None] for each in made]
                shown = [first(*map(Bounds.exactly, each), blocks) <= ALPHA for each in moved]
                rates = [
                    round(100 * float(each), 1) for each in (*false.mean(axis=0), np.mean(shown))
                ]
                print(
                    "| " + " | ".join(map(str, (seeds, cells, *shares, *rates))) + " |", flush=True
                )


if __name__ == "__main__":
    main()
