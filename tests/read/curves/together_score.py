"""How often two curves read together say what `together.py` put into them.

`python -m tests.read.curves.together_score --pairs 600` prints right, missing and false findings.
A step agrees within 30%, an overfitting's within a factor of 2, the factor of a delay within 30%.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tests.read.curves.timed import NOISES
from tests.read.curves.together import KINDS, Pair, pair

Read = Callable[[Pair], Any]


def drawn(seed: int, number: int) -> Pair:
    """Pair `number` of a seed: kinds and noises take turns."""
    kinds = list(KINDS)
    noise = NOISES[number // len(kinds) % len(NOISES)]
    return pair(np.random.default_rng([seed, number, 6]), kinds[number % len(kinds)], noise)


def judge(one: Pair, found: Any) -> dict[str, tuple[bool, bool, bool]]:
    """For each kind of finding: whether it is there, is found, and is right."""
    truth = one.truth
    near = False
    if truth.learnt is not None and found.generalised is not None:
        steps = (found.memorised, found.generalised)
        near = all(
            abs(np.log(a / b)) < np.log(1.3) for a, b in zip(steps, truth.learnt, strict=True)
        )
        near &= abs(np.log(found.factor * truth.learnt[0] / truth.learnt[1])) < np.log(1.3)
    turn = truth.overfits is not None and found.overfits_from is not None
    turn = turn and abs(np.log(found.overfits_from / truth.overfits)) < np.log(2)
    return {
        "memorises": (truth.memorises, found.memorised is not None, True),
        "generalises": (truth.learnt is not None, found.generalised is not None, near),
        "overfits": (truth.overfits is not None, found.overfits_from is not None, turn),
        "double descent": (truth.double, found.double_descent is not None, True),
    }


def score(read: Read, numbers: Iterable[int], seed: int) -> tuple[Counter[Any], list[str]]:
    """Counts by finding, noise and what became of it; and the faults."""
    counts: Counter[Any] = Counter()
    faults = []
    for number in numbers:
        one = drawn(seed, number)
        found = read(one)
        for what, (there, seen, right) in judge(one, found).items():
            if there and seen and right:
                counts[what, one.noise, "right"] += 1
            if there and not (seen and right):
                counts[what, one.noise, "missing"] += 1
            if seen and not (there and right):
                counts[what, one.noise, "false"] += 1
            if there != seen or (there and not right):
                faults.append(f"pair {number} ({one.kind}, {one.noise}): {what}: {one.truth}")
                faults.append(f"    {found}")
    return counts, faults


def main() -> None:
    from ablab.read.curves.together import read_together

    def read(one: Pair) -> Any:
        held = (one.held_steps, one.held_out)
        return read_together((one.steps, one.training), held, one.columns)

    parser = argparse.ArgumentParser(description="Score curves that are read together.")
    parser.add_argument("--pairs", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=0)
    given = parser.parse_args()
    counts, faults = score(read, range(given.pairs), given.seed)
    for what in ("memorises", "generalises", "overfits", "double descent"):
        line = f"{what:16}"
        for noise in NOISES:
            right, missing, false = (
                counts[what, noise, how] for how in ("right", "missing", "false")
            )
            line += f"  {right / max(right + false, 1):.3f} / {right / max(right + missing, 1):.3f}"
            line += f" ({right + missing})"
        print(line)
    print("\n".join(faults[: given.faults]))


if __name__ == "__main__":
    main()
