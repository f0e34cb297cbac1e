"""A ladder: variants in an order, each of which changes the one before it.

The only setting of the grid is a list of bundles whose labels are numbered in increasing order,
such as ``1 bigram``, ``3 one head``, ``4 four heads``. Each is compared with the one before it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import polars as pl

from ablab.experiments.measures import parse_measure
from ablab.read.curves.numbers import number
from ablab.read.directions import measure_range
from ablab.read.effects import Comparison, differences, gather
from ablab.read.effects.inference import ALPHA, holm
from ablab.read.effects.stored import better_values
from ablab.read.guessing import guessing_loss
from ablab.read.measure_words import measure_words
from ablab.read.measured import shown
from ablab.read.short_variants import caveat, cell_key, longer_words, short_variants
from ablab.store.store import ExperimentRecord, RunRecord

_NUMBERED = re.compile(r"(\d+)[.:)]? \S")
_MOST_SEEDS = 1000  # a step that needs more is not told apart from none
_FEWEST = 3  # rungs; two are a comparison like any other

HEADER = ["step", "from", "difference", "95% interval", "adjusted p", "verdict", "from the first"]


@dataclass(frozen=True)
class Ladder:
    """The steps of a ladder.

    Attributes:
        key: The setting.
        words: The measure in words.
        steps: Each rung compared with the one before it; corrected as one family.
        first: Each rung compared with the first, by its label.
        short: Rungs that were trained for far fewer steps and are not compared, with their steps.
        longer: Which rungs were trained for far more steps, in a sentence; empty if none were.
    """

    key: str
    words: str
    steps: list[Comparison]
    first: dict[str, Comparison]
    short: dict[str, int]
    longer: str = ""

    @property
    def header(self) -> list[str]:
        """The titles of the columns of :attr:`rows`."""
        titles = list(HEADER)
        if self.steps[0].scale == "ratio":
            titles[2] = "ratio"
        return titles

    @property
    def rows(self) -> list[list[str]]:
        """A row for each step."""
        rows = []
        for each in self.steps:
            first = self.first.get(str(each.value))
            rows.append([
                str(each.value),
                str(each.reference),
                "" if each.difference is None else shown(each.difference),
                "none" if each.interval is None
                else f"[{shown(each.interval[0])}, {shown(each.interval[1])}]",
                "" if each.p_adjusted is None else f"{each.p_adjusted:.2g}",
                (each.direction or "undecided") if each.verdict == "differs" else "undecided",
                "" if first is None or first.difference is None else shown(first.difference),
            ])  # fmt: skip
        return rows

    @property
    def caveat(self) -> str:
        """Which rungs are not compared, or were trained for far more steps; may be empty."""
        return " ".join(filter(None, [caveat(self.short), self.longer]))

    def sentences(self) -> list[str]:
        """What each step does to the measure, in one sentence, and what is not compared."""
        told = []
        lower: list[str] = []
        higher: list[str] = []
        for each in self.steps:
            if each.verdict == "differs":
                (lower if each.direction == "lower" else higher).append(_size(each))
        rest = [_open(each) for each in self.steps if each.verdict != "differs"]
        told += [f"lowered by {_listed(lower)}"] if lower else []
        told += [f"raised by {_listed(higher)}"] if higher else []
        told += [f"undecided for {_listed(rest)}"] if rest else []
        words = self.words[0].upper() + self.words[1:]
        tested = f"tests are adjusted for {len(self.steps)} steps, intervals are not"
        said = f"{words}, each step against the one before: {'; '.join(told)} ({tested})."
        return [each for each in (said, self.caveat) if each]


def ladder_labels(record: ExperimentRecord) -> list[str]:
    """The labels of the rungs in their order; empty if the grid is no ladder."""
    grid = record.definition["grid"]
    if len(grid) != 1:
        return []
    (values,) = grid.values()
    if not isinstance(values, Mapping) or len(values) < _FEWEST:
        return []
    found = [_NUMBERED.match(str(label)) for label in values]
    numbers = [int(each[1]) for each in found if each is not None]
    rises = all(after > before for before, after in pairwise(numbers))
    return [str(label) for label in values] if len(numbers) == len(values) and rises else []


def find_ladder(
    record: ExperimentRecord, runs: Sequence[RunRecord], measure: str, values: pl.DataFrame
) -> Ladder | None:
    """The steps of a ladder; None if the grid is none, or if nothing can be compared.

    Args:
        record: The experiment.
        runs: Its runs.
        measure: The measure.
        values: The measure of each run, as :func:`ablab.read.measures.measure_table` gives it.
    """
    labels = ladder_labels(record)
    if not labels:
        return None
    (key,) = record.definition["grid"]
    short = short_variants(runs)
    steps = {label: short.get(cell_key({key: label})) for label in labels}
    rungs = [label for label in labels if steps[label] is None]
    frame = values.filter(pl.col(key).is_in(rungs))
    if len(rungs) < _FEWEST or frame["value"].null_count() == frame.height:
        return None
    parsed, better = parse_measure(measure), better_values(record, measure)
    results = gather(
        frame, [key], measure=measure, better=better, guessing=guessing_loss(record, parsed),
        limits=measure_range(record, parsed),
    )  # fmt: skip
    pairs = {
        (str(each.reference), str(each.value)): each
        for each in differences(results, key, against="each")
    }
    climbed = _corrected([pairs[pair] for pair in pairwise(rungs)])
    first = {label: pairs[rungs[0], label] for label in rungs[1:]}
    fewer = {label: found for label in labels if (found := steps[label]) is not None}
    return Ladder(key, measure_words(measure), climbed, first, fewer, longer_words(runs))


def _corrected(steps: Sequence[Comparison]) -> list[Comparison]:
    """Comparisons that are a family of their own: that of the steps, not of all pairs.

    They are decided by levels or ranks. How many runs diverged shows no lower or higher level.
    """
    steps = [each if each.ranked else replace(each, p=each.p_level) for each in steps]
    adjusted = holm([each.p for each in steps])
    found = []
    for each, p in zip(steps, adjusted, strict=True):
        changes: dict[str, Any] = {"p_adjusted": p, "family": len(steps) - adjusted.count(None)}
        changes["verdict"] = "differs" if p is not None and p <= ALPHA else "undecided"
        found.append(replace(each, **changes))
    return found


def _size(each: Comparison) -> str:
    """A step with the size of its difference, ``4 four heads (0.1)``, if there is one.

    There is none where no run of one side reached the step, which ranks decide.
    """
    size = each.difference
    if size is None:
        return str(each.value)
    told = f"×{number(size)}" if each.scale == "ratio" else number(abs(size))
    return f"{each.value} ({told})"


def _open(each: Comparison) -> str:
    """An undecided step with its interval, and about how many seeds would decide it."""
    if each.difference is None or each.interval is None:
        return str(each.value)
    times = "×" if each.scale == "ratio" else ""
    low, high = (number(end) for end in each.interval)
    told = f"{times}{number(each.difference)} [{low}, {high}]"
    needed = each.seeds_to_detect
    if needed is not None and each.seeds < needed <= _MOST_SEEDS:
        told += f", about {needed:,} seeds would show this"
    return f"{each.value} ({told})"


def _listed(names: Sequence[str]) -> str:
    """Names in a list, with ``and`` before the last."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
