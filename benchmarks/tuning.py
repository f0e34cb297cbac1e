"""Searches of tuning on planted functions: what they find, and how often flatness is right.

    python benchmarks/tuning.py [--functions 200]

A function of two settings, the logarithm of a rate over three decades and a weight decay, is a
planted loss with its least value, 0.1, at a random place; the noise of a run is that of its seed,
which all trials share, and its own (each with a standard deviation of 5% of the loss).

- bowl: a quadratic in both settings
- valley: the same, with the second setting a hundred times less important
- cliff: a bowl that diverges (no value) at rates above four times the best one

Regret: the planted loss at the chosen settings, less 0.1, averaged over functions. Without noise,
it is that of the best trial; with noise, that of the trial with the best median over two seeds.
Flat: in how many functions the trial that is truly best is one of those that are said to be as good
as the chosen one, and how many trials are.
"""

import argparse
import math
from dataclasses import dataclass, replace

import numpy as np

from ablab.experiments import search
from ablab.experiments.axes import SweepContext
from ablab.experiments.search import next_trials
from ablab.experiments.tree import Origins
from ablab.experiments.trials import best_trial, score
from ablab.experiments.tuning import read_tuning
from ablab.read.quantity import Quantity
from ablab.read.tuning import as_good

FLOOR, NOISE, SEEDS = 0.1, 0.05, 2
OVER = {"train.lr": "loguniform(1e-4, 1e-1)", "train.weight_decay": "uniform(0, 0.1)"}
WEIGHTS = {"bowl": 1.0, "valley": 0.01, "cliff": 1.0}


@dataclass(eq=False)
class Trial:
    """A trial: its values on two seeds, and the planted loss."""

    values: list[float]
    truth: float


@dataclass
class Planted:
    """A planted loss, with the noise of its runs."""

    kind: str
    number: int
    noise: float

    def __post_init__(self):
        self.draws = np.random.default_rng([self.number, list(WEIGHTS).index(self.kind)])
        self.rate, self.decay = self.draws.uniform(-3.7, -1.6), self.draws.uniform(0.01, 0.09)
        self.of_seeds = self.draws.normal(0, self.noise, SEEDS)

    def truth(self, settings):
        """The planted loss; infinite beyond the cliff."""
        far = math.log10(settings["train.lr"]) - self.rate
        if self.kind == "cliff" and far > math.log10(4):
            return math.inf
        decay = 10 * (settings["train.weight_decay"] - self.decay)
        return FLOOR + far**2 + WEIGHTS[self.kind] * decay**2

    def trial(self, settings):
        """A trial with noise."""
        truth = self.truth(settings)
        noise = self.of_seeds + self.draws.normal(0, self.noise, SEEDS)
        return Trial([truth * math.exp(each) for each in noise], truth)


def searched(planted, asked):
    """All trials of a search."""
    trials, tried = [], []
    while new := next_trials(asked, f"{planted.kind}-{planted.number}", "base", tried):
        for settings in new:
            trials.append(planted.trial(settings))
            tried.append((settings, score(trials[-1].values)))
    return trials


def regret(kind, asked, functions, noise):
    """The mean regret, the share of functions whose best trial is as good, and how many are."""
    regrets, hits, counts = [], [], []
    for number in range(functions):
        trials = searched(Planted(kind, number, noise), asked)
        known = [each for each in trials if math.isfinite(each.truth)]
        place = best_trial([score(each.values) for each in known])
        chosen = known[place]
        regrets.append(chosen.truth - FLOOR)
        good = as_good(known, chosen, 1.0, Quantity((0.0, math.inf)))
        best = min(known, key=lambda each: each.truth)
        hits.append(any(each is best for each in good))
        counts.append(len(good))
    return np.mean(regrets), np.mean(hits), np.mean(counts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--functions", type=int, default=200)
    functions = parser.parse_args().functions
    base = read_tuning({"over": OVER}, (), SweepContext("any", {}), Origins())
    print("| function | trials | noise | search | regret | best is as good | as good |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind in WEIGHTS:
        for trials, noise in ((16, 0.0), (16, NOISE), (32, NOISE)):
            for name, batch in (("random", 4), ("sobol", 4), ("optuna", 4), ("optuna", 8)):
                search.BATCH = batch
                asked = replace(base, trials=trials, search=name)
                mean, hit, count = regret(kind, asked, functions, noise)
                label = f"{name}, {batch} at a time" if name == "optuna" else name
                row = (kind, trials, f"{noise:.0%}", label, f"{mean:.4f}")
                flat = (f"{hit:.0%}", f"{count:.1f}") if noise else ("", "")
                print(f"| {' | '.join(map(str, (*row, *flat)))} |", flush=True)


if __name__ == "__main__":
    main()
