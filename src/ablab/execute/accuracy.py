"""How accurate estimates are: learned from the ratios of actual to estimated durations."""

import math
from collections.abc import Sequence
from typing import Literal

Kind = Literal[
    "measured", "timed", "model", "watched", "compiling", "loading", "evaluation", "setup"
]

# By which factor an estimate may be wrong before any was compared with the actual duration
# (docs/decisions/0031), by its source: a step measured in training, or timed for four steps, or
# from the cost model, or either of these while more is watched than by default, without its cost;
# compiling a program, or loading it from the cache; an evaluation, and the setup of a stack.
USUAL: dict[Kind, float] = {
    "measured": 1.25,
    "timed": 1.6,
    "model": 3.0,
    "watched": 3.0,
    "compiling": 2.0,
    "loading": 2.0,
    "evaluation": 2.5,
    "setup": 2.0,
}
LATEST = 30  # the latest ratios of each kind
_WIDTH = 1.5  # standard deviations from the middle of a range to its ends
_PRIOR = 3.0  # the usual factor counts as so many ratios
_LEAST, _MOST = 1.1, 5.0


def factor(kind: Kind, ratios: Sequence[float], middle: float = 0.0) -> float:
    """By which factor an estimate of some kind may be wrong in either direction.

    Args:
        kind: The kind.
        ratios: Logarithms of actual to estimated durations.
        middle: Their expected value.
    """
    usual = math.log(USUAL[kind]) / _WIDTH
    squares = sum((each - middle) ** 2 for each in ratios) + _PRIOR * usual**2
    found = math.exp(_WIDTH * math.sqrt(squares / (len(ratios) + _PRIOR)))
    return min(_MOST, max(_LEAST, found))


def correction(ratios: Sequence[float]) -> float:
    """The factor by which a guess is corrected: the mean ratio, where no correction counts as one.

    Args:
        ratios: Logarithms of actual durations to guesses.
    """
    return math.exp(sum(ratios) / (len(ratios) + 1))
