"""How many seeds would settle a comparison, from the spread that was seen.

The spread of a few seeds is itself known roughly (the true one may be from half to six times that
of 3 seeds), and a difference that caught the eye is on average smaller than it looked. The numbers
are for planning.
"""

import math
from collections.abc import Callable

from scipy.special import nctdtr, stdtrit

from ablab.read.effects.inference import ALPHA

POWER = 0.8
MOST_SEEDS = 10_000
"""What would need more is not settled by seeds, and None is given."""


def seeds_to_detect(difference: float, deviation: float, comparisons: int = 1) -> int | None:
    """Seeds with which a paired t test finds the difference with 80% power, by noncentral t.

    Args:
        difference: The true difference.
        deviation: The standard deviation of paired differences.
        comparisons: The size of the family; the test's level is 5% over it, as in Holm's first
            step.
    """
    if deviation <= 0 or difference == 0:
        return None

    def power(n: int) -> float:
        critical = float(stdtrit(n - 1, 1 - ALPHA / comparisons / 2))
        # The chance of a finding on the other side is left out: it is nothing where it matters.
        return 1 - _below(critical, n, abs(difference) / deviation)

    return _fewest(power)


def seeds_for_equivalence(margin: float, deviation: float, comparisons: int = 1) -> int | None:
    """Seeds with which an equivalence test passes with 80% power if there is no difference at all.

    By the noncentral t distribution: 1 - 2 P(T < t) for one side's T (Phillips, 1990).

    Args:
        margin: The margin of the test.
        deviation: The standard deviation of paired differences.
        comparisons: The size of the family, as in :func:`seeds_to_detect`.
    """
    if deviation <= 0 or margin <= 0:
        return None

    def power(n: int) -> float:
        critical = float(stdtrit(n - 1, 1 - ALPHA / comparisons))
        return 1 - 2 * _below(critical, n, margin / deviation)

    return _fewest(power)


def _below(critical: float, n: int, size: float) -> float:
    """The chance that t of n seeds stays below, where the mean is ``size`` deviations."""
    chance = float(nctdtr(n - 1, size * n**0.5, critical))
    return 0.0 if math.isnan(chance) else chance  # SciPy has no number where it is next to nothing


def _fewest(power: Callable[[int], float]) -> int | None:
    """The fewest seeds, at least two, of a power that grows with them."""
    low, high = 1, 2
    while power(high) < POWER:
        if high >= MOST_SEEDS:
            return None
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high
