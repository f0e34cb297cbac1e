"""Several looks at the same growing sample: the level of each, so that all together keep 5%.

A test that is repeated as seeds are added finds something by chance more often than one test does.
Group-sequential designs (Jennison and Turnbull, 2000) therefore test at each look at a lower level.
Here the level of a look is proportional to its number of seeds, and the factor makes the
probability that any look is significant by chance at most 5%. It is computed for statistics that
are normal sums, by the recursion of Armitage, McPherson and Rowe (1969), and a quarter is added:
statistics of Student's test, whose variances are estimated, vary more from one look to the next
(by 3 to 25% in simulations, decision 43). It is never more than the sum over all looks, which holds
for any test.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from ablab.read.statistics.array import Array

ALPHA = 0.05
_GROWTH = 4 / 3  # from one look to the next
_ESTIMATED = 1.25  # times as often as with known variances
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(80)


@dataclass(frozen=True)
class Looks:
    """The numbers of seeds at which questions are looked at, and the level of each look.

    Attributes:
        first: The number of seeds at the first look.
        last: That at the last look.
    """

    first: int
    last: int

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of seeds, each a third more than the one before."""
        found = [self.first]
        while found[-1] < self.last:
            found.append(min(self.last, max(found[-1] + 1, int(np.ceil(found[-1] * _GROWTH)))))
        return tuple(found)

    @cached_property
    def levels(self) -> tuple[float, ...]:
        """The significance level of each look."""
        return _levels(self.numbers)

    def p_value(self, tests: Sequence[float | None]) -> float | None:
        """One p-value for all looks so far: valid at any of them, whatever made one stop there.

        It is the lowest significance level, for all looks together, at which one of them would be
        significant. None if none of them tested anything.

        Args:
            tests: The p-value of each look so far; None for one without a test.
        """
        shares = [
            p * self.last / seeds
            for p, seeds in zip(tests, self.numbers, strict=False)
            if p is not None
        ]
        return None if not shares else _crossing(self.numbers, min(shares))

    def chance(self, look: int, p: float, sides: int = 2) -> float:
        """The probability that the last look is significant, given one look.

        The effect is not known: it is a draw from what the look leaves open, before which all
        effects were equally likely (Spiegelhalter, Freedman and Blackburn, 1986).

        Args:
            look: The place of the look, before the last one.
            p: Its p-value.
            sides: Whether the test is one- or two-sided.
        """
        seeds = self.numbers[look]
        score, bound = -ndtri(min(p, 1 - 1e-12) / sides), -ndtri(self.levels[-1] / sides)
        spread = np.sqrt((self.last - seeds) / seeds)
        later = score * np.sqrt(self.last / seeds)
        chances = [ndtr((side * later - bound) / spread) for side in (1, -1)[:sides]]
        return float(sum(chances))


@lru_cache(maxsize=256)
def _levels(numbers: tuple[int, ...]) -> tuple[float, ...]:
    if len(numbers) == 1:
        return (ALPHA,)
    factor = brentq(lambda share: _crossing(numbers, share) - ALPHA, 1e-6, 1.0, xtol=1e-9)
    return tuple(float(factor * seeds / numbers[-1]) for seeds in numbers)


def _crossing(numbers: Sequence[int], share: float) -> float:
    """The largest probability that any look is significant by chance.

    Args:
        numbers: The numbers of seeds.
        share: The level of the last look; those of others are in proportion to their seeds.
    """
    levels = [share * seeds / numbers[-1] for seeds in numbers]
    return min(1.0, sum(levels), _ESTIMATED * any_significant(numbers, levels))


def any_significant(numbers: Sequence[int], levels: Sequence[float]) -> float:
    """The probability that any look at a growing normal sample is significant by chance.

    By numerical integration over the sums that are not significant yet.

    Args:
        numbers: The number of seeds at each look, increasing.
        levels: The two-sided significance level of each look.
    """
    if max(levels) >= 1:
        return 1.0
    ends = [
        -ndtri(level / 2) * np.sqrt(seeds) for seeds, level in zip(numbers, levels, strict=True)
    ]
    places = ends[0] * _NODES
    mass = _WEIGHTS * ends[0] * _normal(places, numbers[0])  # of sums that go on
    for before, seeds, end in zip(numbers, numbers[1:], ends[1:], strict=False):
        there = end * _NODES
        density = _normal(there[:, None] - places, seeds - before) @ mass
        places, mass = there, _WEIGHTS * end * density
    return max(0.0, 1 - float(mass.sum()))


def _normal(values: Array, variance: float) -> Array:
    return np.asarray(np.exp(-(values**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance))
