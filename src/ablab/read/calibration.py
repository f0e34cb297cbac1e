"""How often expectations held, compared with the stated confidence."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ablab.read.verdicts import Verdict


@dataclass(frozen=True)
class Calibration:
    """How often expectations held, compared with the confidence that was stated.

    Attributes:
        stated: The mean stated confidence.
        held: The fraction that held.
        count: The number of decided expectations that state a confidence and were written before
            results.
        brier: The Brier score: the mean squared difference of confidence and outcome. Always
            stating 0.5 gives 0.25.
        groups: For each range of confidence with expectations: its lower end (which is not in it)
            and its upper end (which is), the number of expectations, and the fraction that held.
    """

    stated: float
    held: float
    count: int
    brier: float
    groups: tuple[tuple[float, float, int, float], ...]

    def as_data(self) -> dict[str, Any]:
        """The calibration as plain data."""
        return asdict(self)


def calibration(found: Sequence[Verdict]) -> Calibration | None:
    """Compares outcomes with stated confidences; None if no expectation counts.

    Only decided expectations with a confidence, written before results existed, count.
    """
    counted = [
        (each.confidence, each.outcome == "held")
        for each in found
        if each.confidence is not None and each.outcome != "undecided" and not each.late
    ]
    if not counted:
        return None
    stated = np.array([confidence for confidence, _ in counted])
    held = np.array([float(held) for _, held in counted])
    groups = []
    for low, high in ((0.0, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.0)):
        inside = (stated > low) & (stated <= high)
        if inside.any():
            groups.append((low, high, int(inside.sum()), float(held[inside].mean())))
    brier = float(((stated - held) ** 2).mean())
    return Calibration(float(stated.mean()), float(held.mean()), len(counted), brier, tuple(groups))
