"""Whether the variant with the best values is told apart from the others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

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

_KEY = "variant"
_OF_TWO = {"lowest": "is lower", "highest": "is higher", "earliest": "is earlier",
           "fewest": "takes fewer steps"}  # fmt: skip
_NAMED = 4  # so many variants that are not told apart are all named
_MOST_SEEDS = 1000  # a difference that needs more is not told apart from none


@dataclass(frozen=True)
class Ranking:
    """The variant with the best median, compared with each of the others.

    Attributes:
        best: The variant with the best median.
        others: The number of variants that it is compared with.
        undecided: The comparisons that are not decided, the clearest last. ``value`` is the name of
            the other variant.
        steps: Whether the values are steps.
    """

    best: VariantValues
    others: int
    undecided: list[Comparison]
    steps: bool = False

    @property
    def is_decided(self) -> bool:
        """Whether the best variant is told apart from every other one."""
        return not self.undecided

    def open_words(self, order: str) -> str:
        """That it is not decided which variant is the best, with what would decide it.

        Args:
            order: How the best value is called, such as ``lowest``.
        """
        nearest = self.undecided[0]
        assert nearest.difference is not None, "it has a test"
        ends = "" if nearest.interval is None else f" {interval(nearest.interval)}"
        kind = "ratio" if nearest.scale == "ratio" else "difference"
        unit = " steps" if self.steps and kind == "difference" else ""
        size = f"averages {number(nearest.difference)}{unit}{ends} over seeds"
        other, mine, to = _quoted(str(nearest.value)), _quoted(self.best.name), "from"
        if kind == "ratio":
            to = "to"
        if self.others == 1:
            return (
                f"Not decided which {_OF_TWO[order]}: the {kind} of {other} {to} {mine} "
                f"{size}{_seeds_words(nearest)}."
            )
        count = f"{len(self.undecided) + 1} of {self.others + 1}"
        p = min(1.0, self.others * (nearest.p or 1.0))
        best = "takes the fewest steps" if order == "fewest" else f"is {order}"
        named, it = f", among them {mine}", "it"
        if len(self.undecided) < _NAMED:
            rest = [_quoted(str(each.value)) for each in self.undecided]
            named = f": {', '.join([mine, *rest[:-1]])} and {rest[-1]}"
            it = "the first"
        return (
            f"Not decided which {best}: {count} variants are not told apart"
            f"{named}; the {kind} of {other} {to} {it} {size}, with "
            f"p = {p:.2g} after correction for {self.others} comparisons{_seeds_words(nearest)}."
        )


def find_ranking(
    record: ExperimentRecord, found: MeasuredVariants, values: pl.DataFrame
) -> Ranking | None:
    """Compares the variant with the best median with each of the others.

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
    best = found.best()
    if best is None:
        sign = -1 if found.better == "higher" else 1
        best = min(known, key=lambda row: sign * (row.median or 0.0))
    frame = _by_variant(record, rows, values)
    parsed = parse_measure(found.measure)
    results = gather(
        frame, [_KEY], {_KEY: best.name}, measure=found.measure, better=found.better,
        guessing=guessing_loss(record, parsed), limits=measure_range(record, parsed),
    )  # fmt: skip
    made = [replace(each, family=len(rows) - 1) for each in differences(results, _KEY)]
    tested = [each for each in made if each.p is not None and each.difference is not None]
    if not tested:
        return None
    undecided = [each for each in tested if (each.p or 0.0) * len(made) > ALPHA]
    undecided.sort(key=lambda each: -(each.p or 0.0))
    untested = [each for each in made if each.p is None]
    return Ranking(best, len(made), undecided + untested, found.steps)


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
