"""How many seeds would settle a comparison, from the spread that was seen.

The spread of a few seeds is itself known roughly (a factor of 2 either way with 4 seeds), and a
difference that caught the eye is on average smaller than it looked. The numbers are for planning.
"""

from collections.abc import Callable

from scipy.stats import nct, t
from statsmodels.stats.power import TTestPower

from ablab.read.effects.inference import ALPHA

POWER = 0.8
MOST_SEEDS = 10_000
"""What would need more is not settled by seeds, and None is given."""


def seeds_to_detect(difference: float, deviation: float, comparisons: int = 1) -> int | None:
    """Seeds with which a paired t test finds the difference with 80% power.

    Args:
        difference: The true difference.
        deviation: The standard deviation of paired differences.
        comparisons: The size of the family; the test's level is 5% over it, as in Holm's first
            step.
    """
    if deviation <= 0 or difference == 0:
        return None
    test = TTestPower()
    size = abs(difference) / deviation
    return _fewest(lambda n: float(test.power(size, n, ALPHA / comparisons)))


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
        critical = t.isf(ALPHA / comparisons, n - 1)
        return 1 - 2 * float(nct.cdf(critical, n - 1, margin / deviation * n**0.5))

    return _fewest(power)


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
