"""Whether the variant with the best values is told apart from the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import polars as pl

from ablab.config.wording import counted
from ablab.experiments.measures import parse_measure
from ablab.logbook.variant_values import MeasuredVariants, VariantValues
from ablab.read.directions import measure_range
from ablab.read.effects import Comparison, differences, gather
from ablab.read.effects.inference import ALPHA
from ablab.read.effects.sentences import interval, number
from ablab.read.guessing import guessing_loss
from ablab.store.store import ExperimentRecord

Order = Literal["lower", "higher"]

_KEY = "variant"
_OF_TWO = {"lowest": "is lower", "highest": "is higher", "earliest": "is earlier",
           "fewest": "takes fewer steps"}  # fmt: skip
_MEDIAN = {"lowest": ("lower", "lowest"), "highest": ("higher", "highest"),
           "earliest": ("earlier", "earliest"), "fewest": ("lower", "lowest")}  # fmt: skip
_NAMED = 4  # so many variants that are not told apart are all named
_MOST_SEEDS = 1000  # a difference that needs more is not told apart from none


@dataclass(frozen=True)
class Ranking:
    """The best variant, compared with each of the others.

    Attributes:
        best: The variant of which most runs have a value, then with the best median.
        others: The number of variants that it is compared with.
        undecided: The comparisons that are not decided. ``value`` is the name of the other variant,
            and ``p`` the p-value of levels or ranks, as counts show no lower value. Those that
            contradict the choice of the best come first, then those with a test, the largest
            p-value first, then those without.
        steps: Whether the values are steps.
        fewer: If the first of them has the better median, how few of its runs have a value; else
            empty.
        reversed: Whether the first of them is better by its test, though not by its median.
        untested: Why there is no test, by the name of the other variant.
    """

    best: VariantValues
    others: int
    undecided: list[Comparison]
    steps: bool = False
    fewer: str = ""
    reversed: bool = False
    untested: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_decided(self) -> bool:
        """Whether the best variant is told apart from every other one."""
        return not self.undecided

    def open_words(self, order: str) -> str:
        """That it is not decided which variant is the best, with what would decide it.

        Args:
            order: How the best value is called, such as ``lowest``.
        """
        nearest, mine = self.undecided[0], _quoted(self.best.name)
        best = "takes the fewest steps" if order == "fewest" else f"is {order}"
        best, it = (_OF_TWO[order], mine) if self.others == 1 else (best, "it")
        median = f"the median is {_MEDIAN[order][self.others > 1]} with"
        if self.fewer:
            other = _quoted(str(nearest.value))
            return f"Not decided which {best}: {median} {other}, but {self.fewer}."
        if self.reversed:
            return f"Not decided which {best}: {median} {mine}, but {self._numbers(nearest, it)}."
        if self.others == 1:
            return f"Not decided which {best}: {self._numbers(nearest, it)}."
        count = f"{len(self.undecided) + 1} of {self.others + 1}"
        named = f", among them {mine}"
        if len(self.undecided) < _NAMED:
            rest = [_quoted(str(each.value)) for each in self.undecided]
            named = f": {', '.join([mine, *rest[:-1]])} and {rest[-1]}"
            it = "the first"
        return (
            f"Not decided which {best}: {count} variants are not told apart"
            f"{named}; {self._numbers(nearest, it)}."
        )

    def _numbers(self, each: Comparison, to: str) -> str:
        """The numbers of an undecided comparison, or why it has none.

        Args:
            each: The comparison.
            to: What the best variant is called.
        """
        other, ratio = _quoted(str(each.value)), each.scale == "ratio"
        pair = f"the ratio of {other} to {to}" if ratio else f"the difference of {other} from {to}"
        if each.p is None:
            return f"{pair} is not tested ({self.untested[str(each.value)]})"
        test = f"p = {min(1.0, self.others * each.p):.2g}"
        if self.others > 1:
            test += f" after correction for the choice of the best of {self.others + 1}"
        if each.ranked or each.difference is None:
            return f"the ranks of all runs of {other} and {to} show neither ({test})"
        ends = "" if each.interval is None else f" {interval(each.interval)}"
        unit = " steps" if self.steps and not ratio else ""
        size = f"averages {number(each.difference)}{unit}{ends} over seeds"
        if self.others > 1:
            size += f", with {test}"
        elif each.counts is not None and each.level_differs:
            size += f", with {test} after correction for the test of how many runs have a value"
        return f"{pair} {size}{'' if self.reversed else _seeds_words(each)}"


def find_ranking(
    record: ExperimentRecord, found: MeasuredVariants, values: pl.DataFrame
) -> Ranking | None:
    """Compares the best variant with each of the others.

    It is told apart from another one if the test of levels, or of the ranks of all runs, shows that
    its values are better, and its median is better, too. How many runs diverged does not show it.

    The variant is chosen by the same values, and the claim that it is the best needs all of the
    comparisons. With n variants, p-values times n - 1 keep the probability of a wrong claim below
    5%, whichever variant is chosen: only its comparison with the truly best one can be wrong
    (multiple comparisons with the best; Hsu, 1984).

    Args:
        record: The experiment.
        found: The measure of all variants.
        values: The measure of each run, as :func:`ablab.read.measures.measure_table` gives it.

    Returns:
        The comparisons; None if there are fewer than two variants, or no test, as with one seed.
    """
    rows = [row for row in found.variants if row.few_steps is None and (row.values or row.missed)]
    known = [row for row in rows if row.median is not None]
    if len(rows) < 2 or not known:
        return None
    best = min(known, key=found.rank)
    frame = _by_variant(record, rows, values)
    parsed = parse_measure(found.measure)
    results = gather(
        frame, [_KEY], {_KEY: best.name}, measure=found.measure, better=found.better,
        guessing=guessing_loss(record, parsed), limits=measure_range(record, parsed),
    )  # fmt: skip
    made = [
        replace(each, family=len(rows) - 1, p=each.p if each.ranked else each.p_level)
        for each in differences(results, _KEY)
    ]
    if all(each.p is None for each in made):
        return None
    named = {row.name: row for row in rows}
    better: Order = "higher" if found.better == "higher" else "lower"
    rivals = [_Rival(each, named[str(each.value)], best, better) for each in made]
    rivals = sorted((each for each in rivals if each.is_open), key=lambda each: each.place)
    return Ranking(
        best, len(made), [each.compared for each in rivals], found.steps,
        rivals[0].fewer if rivals else "",
        bool(rivals) and rivals[0].is_reversed,
        {each.row.name: each.untested for each in rivals if each.compared.p is None},
    )  # fmt: skip


@dataclass(frozen=True)
class _Rival:
    """A variant that is compared with the best one.

    Attributes:
        compared: The comparison.
        row: The variant.
        best: The best variant.
        better: Which values are better.
    """

    compared: Comparison
    row: VariantValues
    best: VariantValues
    better: Order

    @property
    def fewer(self) -> str:
        """How few runs have a value, if their median is better than that of the best; else empty.

        Ranks take account of how many runs there are.
        """
        row, best = self.row.median, self.best.median
        if self.compared.ranked or row is None or best is None:
            return ""
        if not (row < best if self.better == "lower" else row > best):
            return ""
        total, known = self.row.runs + self.row.failed, len(self.row.values)
        verb = "has" if known == 1 else "have"
        return f"only {known} of its {counted(total, 'run')} {verb} a value"

    @property
    def is_shown(self) -> bool:
        """Whether the test shows a difference after the correction."""
        p = self.compared.p
        return p is not None and p * self.compared.family <= ALPHA and bool(self.compared.direction)

    @property
    def is_reversed(self) -> bool:
        """Whether the test shows that this variant is the better one."""
        return self.is_shown and self.compared.direction == self.better

    @property
    def is_open(self) -> bool:
        """Whether the best variant is not told apart from this one."""
        return bool(self.fewer) or self.is_reversed or not self.is_shown

    @property
    def place(self) -> tuple[bool, bool, bool, float]:
        """A key that sorts what is said first to the front."""
        p = self.compared.p
        return not self.fewer, not self.is_reversed, p is None, -(p or 0.0)

    @property
    def untested(self) -> str:
        """Why there is no test."""
        if 1 in (len(self.row.values), len(self.best.values)):
            return "one run"
        return self.compared.why_none or "no level on one side"


def _quoted(name: str) -> str:
    """A name in quotation marks if it has commas."""
    return f"“{name}”" if "," in name else name


def _by_variant(
    record: ExperimentRecord, rows: Sequence[VariantValues], values: pl.DataFrame
) -> pl.DataFrame:
    """The values with one key, the name of the variant."""
    keys = list(record.definition["grid"])

    def label(cell: dict[str, Any]) -> str:
        return str([cell[key] for key in keys])

    names = {label(row.keys): row.name for row in rows}
    cells = [names.get(label(cell)) for cell in values.to_dicts()]
    return values.with_columns(pl.Series(_KEY, cells, dtype=pl.String)).drop_nulls(_KEY)


def _seeds_words(each: Comparison) -> str:
    """About how many seeds would decide a comparison; empty if the variance is not known."""
    if not each.deviation or each.direction is None or each.ranked:
        return ""
    needed = each.seeds_to_detect
    if needed is None or needed > _MOST_SEEDS:
        return f"; {_MOST_SEEDS:,} seeds would not show one of this size"
    if needed <= each.seeds:
        return f"; {counted(needed + 1, 'seed')} or more may show one of this size"
    return f"; about {needed:,} seeds would show one of this size"
