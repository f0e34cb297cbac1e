"""How much of a generated curve's truth a reader finds, and how much it finds that is not there.

`python -m tests.read.curves.score --curves 2000 --seed 0` prints precision and recall by kind and
noise. A curve is known by the seed and its number: `curve(seed, number)`.
"""

import argparse
import importlib
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np

from tests.read.curves.generated import KINDS, SHAPES, Generated, generate, structureless
from tests.read.curves.matching import FINDINGS, near, pairs, tolerated
from tests.read.curves.noise import NOISES
from tests.read.curves.truth import Descent, Event, Repeats, Unfinished

Read = Callable[[np.ndarray, np.ndarray], Any]  # steps, values -> ablab.read.curves.Reading


class Score:
    """Conclusions that are true, missed and false, by kind and noise; the errors of descents."""

    def __init__(self) -> None:
        self.true: Counter[tuple[str, float]] = Counter()
        self.missed: Counter[tuple[str, float]] = Counter()
        self.false: Counter[tuple[str, float]] = Counter()
        self.errors: list[tuple[float, float, float]] = []  # noise, steps, share of the curve
        self.faults: list[str] = []

    def add(self, other: "Score") -> None:
        self.true += other.true
        self.missed += other.missed
        self.false += other.false
        self.errors += other.errors
        self.faults += other.faults

    def precision(self, kind: str, noises: Iterable[float] = NOISES) -> float:
        return self._share(kind, noises, self.false)

    def recall(self, kind: str, noises: Iterable[float] = NOISES) -> float:
        return self._share(kind, noises, self.missed)

    def _share(
        self, kind: str, noises: Iterable[float], wrong: Counter[tuple[str, float]]
    ) -> float:
        """NaN where there was nothing to find, or nothing found."""
        right = sum(self.true[kind, noise] for noise in noises)
        total = right + sum(wrong[kind, noise] for noise in noises)
        return right / total if total else float("nan")

    def judge(self, curve: Generated, reading: Any, name: str = "") -> None:
        """Count what a reading says of a curve."""
        noise = curve.noise.relative
        for kind, found in findings(reading).items():
            truth = [event for event in curve.truth if isinstance(event, FINDINGS[kind])]
            matched = pairs(kind, truth, found, curve)
            self.true[kind, noise] += len(matched)
            missed = set(range(len(truth))) - {i for i, _ in matched}
            extra = set(range(len(found))) - {j for _, j in matched}
            false = [found[j] for j in sorted(extra) if not tolerated(kind, found[j], curve)]
            self.missed[kind, noise] += len(missed)
            self.false[kind, noise] += len(false)
            where = f"{name} ({curve.kind}, {noise:.1%})"
            self.faults += [f"{where}: missed {kind}: {truth[i]}" for i in sorted(missed)]
            self.faults += [f"{where}: false {kind}: {event}" for event in false]
        length = int(curve.steps[-1])
        for event in curve.truth:
            if isinstance(event, Descent):
                starts = [near(event.start, descent.start) for descent in reading.descents]
                error = min(starts, default=np.inf)
                if error < 0.25 * length:  # else it is missed, above, and has no error
                    self.errors.append((noise, error, error / length))

    def table(self) -> str:
        head = "".join(f"{noise:>20.1%}" for noise in NOISES)
        lines = [f"precision / recall (n){head}"]
        for kind in FINDINGS:
            line = f"{kind:22}"
            for noise in NOISES:
                number = self.true[kind, noise] + self.missed[kind, noise]
                both = f"{self.precision(kind, [noise]):.3f} / {self.recall(kind, [noise]):.3f}"
                line += f"{both} {f'({number})':>5}".rjust(20)
            lines.append(line)
        for name, percent in (("median", 50), ("90th percentile", 90)):
            line = f"{f'descent: {name}':22}"
            for noise in NOISES:
                errors = np.array([error[1:] for error in self.errors if error[0] == noise])
                steps, share = (
                    np.percentile(errors, percent, axis=0) if len(errors) else [np.nan] * 2
                )
                line += f"{f'{steps:.0f} steps, {share:.2%}':>20}"
            lines.append(line)
        return "\n".join(lines)


def findings(reading: Any) -> dict[str, list[Any]]:
    """What a reading says, by the kinds of FINDINGS."""
    return {
        "plateau": list(reading.plateaus),
        "descent": list(reading.descents),
        "growback": list(reading.growbacks),
        "spike": list(reading.spikes),
        "slowdown": list(reading.slowdowns),
        "floor": [] if reading.floor is None else [reading.floor],
        "unfinished": [] if reading.finished else [Unfinished()],
        "period": [] if reading.period is None else [Repeats(float(reading.period))],
    }


def curve(seed: int, number: int) -> Generated:
    """Curve `number` of a seed: the kinds and the noises take turns."""
    noise = NOISES[number // len(KINDS) % len(NOISES)]
    return generate(np.random.default_rng([seed, number]), KINDS[number % len(KINDS)], noise)


def plain_curve(seed: int, number: int) -> Generated:
    """The same without structure."""
    noise = NOISES[number // len(SHAPES) % len(NOISES)]
    rng = np.random.default_rng([seed, number, 1])
    return structureless(rng, noise, SHAPES[number % len(SHAPES)])


def score(read: Read, numbers: Iterable[int], seed: int) -> Score:
    """Judge a reader on these curves of a seed."""
    total = Score()
    for number in numbers:
        one = curve(seed, number)
        total.judge(one, read(one.steps, one.values), f"curve {number}")
    return total


def invented(read: Read, numbers: Iterable[int], seed: int) -> list[str]:
    """What a reader finds on these curves without structure, one line a finding."""
    lines = []
    for number in numbers:
        one = plain_curve(seed, number)
        found = findings(read(one.steps, one.values))
        del found["unfinished"], found["floor"]  # a smooth decline may be called either
        where = f"plain curve {number} ({one.kind}, {one.noise.relative:.1%})"
        for kind, events in found.items():
            false: list[Event] = [event for event in events if not tolerated(kind, event, one)]
            lines += [f"{where}: {kind}: {event}" for event in false]
    return lines


def _load(name: str) -> Read:
    module, _, function = name.partition(":")
    read: Read = getattr(importlib.import_module(module), function)
    return read


def _both(name: str, seed: int, numbers: tuple[range, range]) -> tuple[Score, list[str]]:
    read = _load(name)
    return score(read, numbers[0], seed), invented(read, numbers[1], seed)


def main() -> None:
    parser = argparse.ArgumentParser(description="Score the curve reader on generated curves.")
    parser.add_argument("--curves", type=int, default=2000)
    parser.add_argument("--plain", type=int, default=500, help="curves without structure")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", default="ablab.read.curves:read_curve", metavar="MODULE:NAME")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--faults", type=int, default=0, help="how many wrong findings to list")
    given = parser.parse_args()
    parts = 4 * given.processes
    work = [(range(i, given.curves, parts), range(i, given.plain, parts)) for i in range(parts)]
    total, lines = Score(), []
    with get_context("spawn").Pool(given.processes) as pool:
        for part, found in pool.imap(partial(_both, given.reader, given.seed), work):
            total.add(part)
            lines += found
    print(total.table())
    bad = len({line.split("(")[0] for line in lines})
    print(f"without structure: {len(lines)} false findings on {bad} of {given.plain} curves")
    print("\n".join([*total.faults[: given.faults], *lines[: given.faults]]))


if __name__ == "__main__":
    main()
