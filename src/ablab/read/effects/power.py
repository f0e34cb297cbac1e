"""The number of seeds that a comparison needs, from the observed variance.

These numbers are for planning. The standard deviation of a few seeds is a rough estimate (the true
one may be from half to six times that of 3 seeds), and a difference that was selected because it
looked large is on average smaller than observed.
"""

import math
from collections.abc import Callable

from scipy.special import nctdtr, stdtrit

from ablab.read.effects.inference import ALPHA

POWER = 0.8
MOST_SEEDS = 10_000
"""The maximum; None is returned if more seeds would be needed."""


def seeds_to_detect(difference: float, deviation: float, comparisons: int = 1) -> int | None:
    """The number of seeds for which a paired t-test has 80% power (noncentral t distribution).

    Args:
        difference: The true difference.
        deviation: The standard deviation of paired differences.
        comparisons: The size of the family. The significance level is 5% divided by it, as in the
            first step of Holm's correction.

    Returns:
        The number of seeds; None if the difference or deviation is zero, or the number exceeds
        :data:`MOST_SEEDS`.
    """
    if deviation <= 0 or difference == 0:
        return None

    def power(n: int) -> float:
        critical = float(stdtrit(n - 1, 1 - ALPHA / comparisons / 2))
        # The probability of rejection on the other side is negligible, so it is ignored.
        return 1 - _below(critical, n, abs(difference) / deviation)

    return _fewest(power)


def seeds_for_equivalence(margin: float, deviation: float, comparisons: int = 1) -> int | None:
    """The number of seeds for which an equivalence test has 80% power if there is no difference.

    The power is 1 - 2 P(T < t) with the noncentral t distribution (Phillips, 1990).

    Args:
        margin: The margin of the test.
        deviation: The standard deviation of paired differences.
        comparisons: The size of the family, as in :func:`seeds_to_detect`.

    Returns:
        The number of seeds, or None, as in :func:`seeds_to_detect`.
    """
    if deviation <= 0 or margin <= 0:
        return None

    def power(n: int) -> float:
        critical = float(stdtrit(n - 1, 1 - ALPHA / comparisons))
        return 1 - 2 * _below(critical, n, margin / deviation)

    return _fewest(power)


def _below(critical: float, n: int, size: float) -> float:
    """The probability of t below ``critical`` for n seeds and a mean of ``size`` deviations."""
    chance = float(nctdtr(n - 1, size * n**0.5, critical))
    return 0.0 if math.isnan(chance) else chance  # SciPy returns NaN for tiny probabilities


def _fewest(power: Callable[[int], float]) -> int | None:
    """The smallest number of seeds, at least 2, with enough power; power increases with seeds."""
    low, high = 1, 2
    while power(high) < POWER:
        if high >= MOST_SEEDS:
            return None
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high
