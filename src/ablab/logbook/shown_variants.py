"""The variants that an entry shows one by one, where an experiment has more than can be read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ablab.logbook.variant_values import MeasuredVariants
from ablab.store.store import RunRecord

MOST = 100
"""An entry shows the curves, results, costs and readings of at most so many variants."""
BEST = MOST // 2
"""So many of them are the best ones, if it is declared which values are better."""


@dataclass(frozen=True)
class ShownVariants:
    """The variants that are shown one by one.

    Attributes:
        runs: Their runs, in the grid's order.
        places: Their places among all variants, in the grid's order.
        every: The number of all variants.
        words: Which ones they are; empty if all are shown.
    """

    runs: list[RunRecord]
    places: list[int]
    every: int
    words: str


def are_many(runs: Sequence[RunRecord]) -> bool:
    """Whether there are more variants than are shown one by one."""
    return len({str(run.variant) for run in runs}) > MOST


def shown_variants(runs: Sequence[RunRecord], found: MeasuredVariants | None) -> ShownVariants:
    """Selects the variants to show: all, or the best ones and others from best to worst.

    Args:
        runs: The runs of all variants.
        found: The answer's measure of all variants; None if no run has it.
    """
    labels = list(dict.fromkeys(str(run.variant) for run in runs))
    every = len(labels)
    if every <= MOST:
        return ShownVariants(list(runs), list(range(every)), every, "")
    order, first, words = list(range(every)), 0, "at equal distances in the order of the grid"
    if found is not None and len(found.variants) == every and found.all_values:
        rows = found.variants
        if found.better is None:
            order.sort(key=lambda place: (rows[place].median is None, rows[place].median or 0.0))
            words = f"at equal distances in the order of their {found.words}"
        else:
            order.sort(
                key=lambda place: (rows[place].few_steps is not None, found.rank(rows[place]))
            )
            first = BEST
            words = (
                f"the {first} best by the {found.words}, and {MOST - first} at equal distances in "
                "the order of the others"
            )
    rest = order[first:]
    chosen = np.linspace(0, len(rest) - 1, MOST - first).round().astype(int)
    places = sorted([*order[:first], *(rest[each] for each in chosen)])
    names = {labels[place] for place in places}
    return ShownVariants(
        [run for run in runs if str(run.variant) in names],
        places,
        every,
        f"Curves, results, costs and readings are shown of {MOST} of {every:,} variants: {words}. "
        "The answer, the findings and the effects are of all.",
    )
