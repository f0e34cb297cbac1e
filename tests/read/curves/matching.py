"""When a finding is the event that it claims to be, and which findings count for nothing.

| kind | a finding is the event where |
| --- | --- |
| plateau | it shares half of the shorter one's steps, and its level agrees |
| descent, slowdown | its step is within 6% of the curve's length, or 80 steps |
| growback | it shares steps, and the log of its height is within 30% |
| spike | its step is within 5 steps + the spike's width (and a logging interval) |
| floor | its level agrees, and its first step is within 10% of the length, or 100 steps |
| period | it is within 10% |

Levels agree within 5%, or three standard errors of the mean over the event's logged steps.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.read.curves.generated import Generated
from tests.read.curves.truth import (
    Descent,
    Event,
    Floor,
    Growback,
    Plateau,
    Repeats,
    Slowdown,
    Spike,
    Unfinished,
)

FINDINGS: dict[str, type[Event]] = {
    "plateau": Plateau,
    "descent": Descent,
    "growback": Growback,
    "spike": Spike,
    "slowdown": Slowdown,
    "floor": Floor,
    "unfinished": Unfinished,
    "period": Repeats,
}


def pairs(
    kind: str, truth: Sequence[Any], found: Sequence[Any], curve: Generated
) -> list[tuple[int, int]]:
    """Which event is which finding, one to one, the closest first."""
    costs = [
        (cost, i, j)
        for i, event in enumerate(truth)
        for j, finding in enumerate(found)
        if (cost := distance(kind, event, finding, curve)) <= 1
    ]
    matched: list[tuple[int, int]] = []
    for _, i, j in sorted(costs):
        if all(i != taken and j != used for taken, used in matched):
            matched.append((i, j))
    return matched


def distance(kind: str, event: Any, finding: Any, curve: Generated) -> float:
    """How far a finding is from an event, in units of what is tolerated: above 1, not the same."""
    length = int(curve.steps[-1])
    match kind:
        case "plateau":
            half = shared(event, finding) >= 0.5
            return level_error(event, event.last, finding, curve) if half else np.inf
        case "descent":
            return near(event.start, finding.start) / max(0.06 * length, 80)
        case "slowdown":
            return near(event.step, finding.step) / max(0.06 * length, 80)
        case "growback":
            height = np.log(event.high / event.low)
            error = near(np.log(finding.high / finding.low), height) / (0.3 * height)
            return error if shared(event, finding) > 0 else np.inf
        case "spike":
            every = int(curve.steps[0])
            return near(event.step, finding.step) / (5 + event.width + every - 1)
        case "floor":
            late = near(event.first, finding.first) / max(0.1 * length, 100)
            return max(late, level_error(event, length, finding, curve))
        case "period":
            return near(event.period, finding.period) / (0.1 * event.period)
    return 0.0  # unfinished


def near(one: float, other: float) -> float:
    return abs(float(one) - float(other))


def shared(one: Any, other: Any) -> float:
    """The steps in both, as a share of the shorter."""
    both = min(one.last, other.last) - max(one.first, other.first) + 1
    return max(both, 0) / max(min(one.last - one.first, other.last - other.first) + 1, 1)


def level_error(event: Any, last: int, finding: Any, curve: Generated) -> float:
    if finding.level <= 0:
        return np.inf
    logged = int(((curve.steps >= event.first) & (curve.steps <= last)).sum())
    memory = curve.noise.memory
    deviation = float(curve.noise.deviation(np.log(event.level)))
    error = deviation * np.sqrt((1 + memory) / (1 - memory) / max(logged, 1))
    return near(np.log(finding.level), np.log(event.level)) / max(np.log(1.05), 3 * error)


def tolerated(kind: str, finding: Any, curve: Generated) -> bool:
    """A finding that is no event of the truth, but that a person may call so too.

    The descent a curve starts with, which leaves no level; the descent from the top of a growback,
    and that it goes on less steeply; the floor as a plateau; a smooth decline's flat end, and a
    constant as a plateau of half the curve or more.
    """
    length = int(curve.steps[-1])
    after = max(0.06 * length, 80)
    floors = [event for event in curve.truth if isinstance(event, Floor)]
    growbacks = [event for event in curve.truth if isinstance(event, Growback)]
    if kind == "plateau":
        flat_end = [Plateau(floor.level, floor.first, length) for floor in floors]
        if curve.kind in ("power", "approach"):
            return bool(finding.last >= 0.97 * length)
        if curve.kind == "constant":
            return bool(finding.last - finding.first >= 0.5 * length)
        return any(shared(finding, floor) >= 0.5 for floor in flat_end)
    if kind in ("descent", "slowdown"):
        step = finding.start if kind == "descent" else finding.step
        if kind == "descent" and curve.kind != "constant" and step <= max(0.03 * length, 60):
            return True
        return any(event.first - 40 <= step <= event.last + after for event in growbacks)
    return False
