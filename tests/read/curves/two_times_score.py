"""What a reader finds of the curves of `two_times.py`, and what it finds that is not there.

`python -m tests.read.curves.two_times_score --curves 2000 --seed 0` prints precision and recall by
kind and noise. Curve `number` of a seed is `curve(seed, number)`.

A step agrees within a quarter, three logged intervals there, ten steps, and, where the event has a
width of its own, half of that; a level within 5% (an accuracy: 0.02), or 3 standard errors; a
height (log) and a width within 35%; a factor of a slope is not compared.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tests.read.curves import truth as events
from tests.read.curves.timed import NOISES, Timed
from tests.read.curves.two_times import KINDS, drawn

Read = Callable[..., Any]  # steps, values, column -> ablab.read.curves.Reading
FINDINGS: dict[str, type] = {
    "plateau": events.Plateau,
    "descent": events.Descent,
    "from start": events.FromStart,
    "rise": events.Rise,
    "growback": events.Growback,
    "peak": events.Peak,
    "steepening": events.Steepening,
    "slowdown": events.Slowdown,
    "transition": events.Transition,
    "spike": events.Spike,
    "period": events.Repeats,
    "floor": events.Floor,
    "unfinished": events.Unfinished,
}
REAL = (0.002, 0.01, 0.03)  # the noise of real runs


def findings(reading: Any) -> dict[str, list[Any]]:
    """What a reading says, by the kinds of FINDINGS; a fall from the first step has its own."""
    first = reading.first + 3
    started = [each for each in reading.descents if each.start <= first]
    return {
        "plateau": list(reading.plateaus),
        "descent": [each for each in reading.descents if each not in started],
        "from start": started[:1],
        "rise": list(getattr(reading, "rises", ())),
        "growback": list(reading.growbacks),
        "peak": list(getattr(reading, "peaks", ())),
        "steepening": list(getattr(reading, "steepenings", ())),
        "slowdown": list(reading.slowdowns),
        "transition": list(getattr(reading, "transitions", ())),
        "spike": list(reading.spikes),
        "period": [] if reading.period is None else [events.Repeats(reading.period)],
        "floor": [] if reading.floor is None else [reading.floor],
        "unfinished": [] if reading.finished else [events.Unfinished()],
    }


def agrees(kind: str, event: Any, found: Any, curve: Timed) -> bool:
    """Whether a finding is the event."""
    match kind:
        case "plateau":
            both = min(event.last, found.last) - max(event.first, found.first)
            least = min(event.last - event.first, found.last - found.first)
            return both >= 0.5 * least and _level(event.level, found.level, curve)
        case "descent":
            return _step(event.start, found.start, curve)
        case "slowdown" | "steepening":
            return _step(event.step, found.step, curve)
        case "rise" | "growback":
            shared = min(event.last, found.last) > max(event.first, found.first)
            return shared and _height(event, found, curve)
        case "peak":
            return _step(event.step, found.step, curve, 0.5) and _near(
                event.value, found.value, 0.1
            )
        case "transition":
            step = _step(event.step, found.step, curve, 0.5 * event.width / event.step)
            slack = 0.35 * event.width + 3 * _interval(event.step, curve)
            return step and abs(event.width - found.width) <= slack
        case "spike":
            return abs(event.step - found.step) <= 5 + event.width and bool(
                _near(np.log(event.height), np.log(found.height), 0.35)
            )
        case "period":
            return _near(event.period, found.period, 0.1)
        case "floor":
            early = found.first <= max(2 * event.first, event.first + 0.1 * curve.steps[-1])
            late = found.first >= event.first / 2
            return early and late and _level(event.level, found.level, curve)
    return True


def _near(one: float, other: float, share: float) -> bool:
    return abs(one - other) <= share * abs(one)


def _interval(step: float, curve: Timed) -> float:
    place = int(np.clip(np.searchsorted(curve.steps, step), 1, len(curve.steps) - 1))
    return float(curve.steps[place] - curve.steps[place - 1])


def _step(one: float, other: float, curve: Timed, share: float = 0.25) -> bool:
    slack = max(max(share, 0.25) * one, 3 * _interval(one, curve), 10)
    return abs(one - other) <= slack


def _level(one: float, other: float, curve: Timed) -> bool:
    if curve.column == "eval_accuracy":
        return abs(one - other) <= max(0.02, curve.noise)
    return other > 0 and abs(np.log(one / other)) <= max(np.log(1.05), curve.noise)


def _height(event: Any, found: Any, curve: Timed) -> bool:
    true = np.log(event.high / event.low)
    return found.low > 0 and abs(np.log(found.high / found.low) - true) <= max(
        0.35 * true, 3 * curve.noise
    )


class Score:
    """Findings that are right, missing and false, by kind of finding, kind of curve and noise."""

    def __init__(self) -> None:
        self.right: Counter[tuple[str, str, float]] = Counter()
        self.missing: Counter[tuple[str, str, float]] = Counter()
        self.false: Counter[tuple[str, str, float]] = Counter()
        self.faults: list[str] = []

    def judge(self, curve: Timed, reading: Any, name: str = "") -> None:
        """Counts what a reading says of a curve."""
        where = f"{name} ({curve.kind}, {curve.noise:.1%}, {len(curve.steps)})"
        for kind, found in findings(reading).items():
            key = (kind, curve.kind, curve.noise)
            left = list(found)
            for event in (e for e in curve.truth if isinstance(e, FINDINGS[kind])):
                mine = next((each for each in left if agrees(kind, event, each, curve)), None)
                if mine is None:
                    self.missing[key] += 1
                    self.faults.append(f"{where}: missing {kind}: {event}")
                else:
                    self.right[key] += 1
                    left.remove(mine)
            allowed = [e for e in curve.optional if isinstance(e, FINDINGS[kind])]
            for each in left:
                if not any(agrees(kind, event, each, curve) for event in allowed):
                    self.false[key] += 1
                    self.faults.append(f"{where}: false {kind}: {each}")

    def share(self, wrong: str, finding: str, noises: Iterable[float], kind: str = "") -> float:
        """Precision (`wrong` is "false") or recall ("missing"); NaN where there was nothing."""

        def total(counter: Counter[tuple[str, str, float]]) -> int:
            return sum(
                number
                for (what, curve, noise), number in counter.items()
                if what == finding and noise in noises and kind in ("", curve)
            )

        right = total(self.right)
        every = right + total(getattr(self, wrong))
        return right / every if every else float("nan")

    def table(self) -> str:
        lines = ["precision / recall (n)" + "".join(f"{noise:>20.1%}" for noise in NOISES)]
        for finding in FINDINGS:
            line = f"{finding:22}"
            for noise in NOISES:
                number = sum(
                    count
                    for counter in (self.right, self.missing)
                    for (what, _, at), count in counter.items()
                    if what == finding and at == noise
                )
                both = [self.share(wrong, finding, [noise]) for wrong in ("false", "missing")]
                line += f"{both[0]:.3f} / {both[1]:.3f} ({number})".rjust(20)
            lines.append(line)
        return "\n".join(lines)


def curve(seed: int, number: int) -> Timed:
    """Curve `number` of a seed: kinds and noises take turns."""
    kinds = list(KINDS)
    noise = NOISES[number // len(kinds) % len(NOISES)]
    return drawn(np.random.default_rng([seed, number, 2]), kinds[number % len(kinds)], noise)


def score(read: Read, numbers: Iterable[int], seed: int) -> Score:
    """Judges a reader on these curves of a seed."""
    total = Score()
    for number in numbers:
        one = curve(seed, number)
        total.judge(one, read(one.steps, one.values, one.column), f"curve {number}")
    return total


def main() -> None:
    from ablab.read.curves import Reading, read_curve

    parser = argparse.ArgumentParser(description="Score the curve reader in two times.")
    parser.add_argument("--curves", type=int, default=2200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=0, help="how many wrong findings to list")
    given = parser.parse_args()
    raised: list[str] = []

    def read(steps: np.ndarray, values: np.ndarray, column: str) -> Any:
        """A reader that raises has found nothing."""
        try:
            return read_curve(steps, values, column)
        except ArithmeticError as error:
            raised.append(repr(error))
            return Reading(column, int(steps[0]), int(steps[-1]), 0.0, 0.0, 0.0, 0, 0.0)

    total = score(read, range(given.curves), given.seed)
    print(total.table())
    print(f"{len(raised)} of {given.curves} curves were not read: {set(raised)}")
    print("\n".join(total.faults[: given.faults]))


if __name__ == "__main__":
    main()
