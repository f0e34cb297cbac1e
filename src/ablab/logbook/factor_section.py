"""The section of an entry on the factors of a task's samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from ablab.experiments.experiment import variant_label
from ablab.experiments.short_names import short_names
from ablab.logbook.colours import PALETTE, sequential
from ablab.logbook.drawing_cache import cached_drawing
from ablab.logbook.line_chart import ChartLine, ChartPanel, line_charts
from ablab.read.by_factor import ByFactor, FactorColumns, factor_sentences
from ablab.store.store import RunRecord

MOST_VARIANTS = 4
"""With more variants than this, only the first have figures; readings are of all."""
MOST_FACTORS = 6  # with a figure, which bounds the size of the page
_POINTS = 100  # evaluations of a curve
_WIDE_RANGE = 30.0  # ratio of losses above which their axis is logarithmic
_LABELS = {"eval_loss": "held-out loss", "eval_accuracy": "held-out accuracy"}


@dataclass(frozen=True)
class VariantFactors:
    """What a page shows of a variant's factors.

    Attributes:
        label: The short name of the variant.
        file: The start of the names of the figures' files.
        sentences: Readings.
        drawings: The figures as SVG, by factor; empty if the variant has none.
    """

    label: str
    file: str
    sentences: list[str]
    drawings: dict[str, str]

    @property
    def files(self) -> dict[str, str]:
        """The figures by the names of their files."""
        return {f"{self.file}-{factor}": drawing for factor, drawing in self.drawings.items()}


def factor_section(found: ByFactor, runs: Sequence[RunRecord]) -> list[VariantFactors]:
    """The factors of each variant that has any; empty if the task has none.

    Args:
        found: The measures by factor.
        runs: The runs.
    """
    if not found.factors:
        return []
    sentences = factor_sentences(found, runs)
    groups: dict[str, list[str]] = {}
    for run in runs:
        groups.setdefault(variant_label(run.variant), []).append(run.run)
    made = []
    cells = {variant_label(run.variant): run.variant for run in runs}
    names = dict(zip(cells, short_names(list(cells.values())), strict=True))
    for place, (label, members) in enumerate(groups.items()):
        frame = found.frame.filter(pl.col("run").is_in(members))
        drawings = factor_figures(found, frame) if place < MOST_VARIANTS and frame.height else {}
        if drawings or sentences.get(label):
            said = sentences.get(label, [])
            made.append(VariantFactors(names[label], f"by-factor-{place}", said, drawings))
    return made


def factor_figures(found: ByFactor, frame: pl.DataFrame) -> dict[str, str]:
    """The measures of a variant by factor, with a panel per measure, as SVG by factor.

    All figures have the same axes, so that factors can be compared.

    Args:
        found: The columns by factor and measure; of many factors, the first are drawn.
        frame: The evaluations of the variant's runs.
    """
    factors: dict[str, list[FactorColumns]] = {}
    for each in found.factors:
        factors.setdefault(each.factor, []).append(each)
    ranges = {name: _range(found, frame, name) for name in _LABELS}
    return {
        factor: _figure(parts, frame, ranges)
        for factor, parts in list(factors.items())[:MOST_FACTORS]
    }


@cached_drawing
def _figure(
    parts: Sequence[FactorColumns], frame: pl.DataFrame, ranges: Mapping[str, tuple[float, float]]
) -> str:
    panels = []
    for each in parts:
        low, high = ranges[each.measure]
        wide = each.measure != "eval_accuracy" and low > 0 and high / low > _WIDE_RANGE
        if each.measure == "eval_accuracy":
            limits = (-0.03, 1.03)
        elif wide:
            limits = (low / 1.2, high * 1.2)
        else:
            limits = (low - 0.05 * (high - low), high + 0.05 * (high - low) + 1e-9)
        lines = _lines(each, frame)
        title = _LABELS[each.measure]
        panels.append(ChartPanel(lines, title=title, logarithmic=wide, limits=limits))
    return line_charts(panels, 245 * len(parts), 190)


def colours(values: int) -> list[Any]:
    """A colour for each value of a factor: of two, distinct ones; of more, a sequential scale."""
    return list(PALETTE[:values]) if values <= 2 else sequential(values)


def _lines(each: FactorColumns, frame: pl.DataFrame) -> list[ChartLine]:
    """The curves of a factor's values: each run, and their median as far as all runs have come."""
    lines = []
    for (value, column), colour in zip(
        each.columns.items(), colours(len(each.columns)), strict=True
    ):
        known = frame.select("run", "step", column).drop_nulls().sort("step")
        runs = known["run"].unique(maintain_order=True).to_list()
        for run in runs if len(runs) > 1 else ():
            curve = _thinned(known.filter(pl.col("run") == run))
            lines.append(ChartLine(curve["step"], curve[column], colour, width=0.5, opacity=0.45))
        middle = _thinned(
            known.group_by("step")
            .agg(pl.col(column).median(), pl.len().alias("runs"))
            .filter(pl.col("runs") == len(runs))
            .sort("step")
        )
        lines.append(ChartLine(middle["step"], middle[column], colour, value))
    return lines


def _thinned(curve: pl.DataFrame) -> pl.DataFrame:
    """Every n-th evaluation and the last, at most about ``_POINTS``."""
    every = -(-curve.height // _POINTS)
    if every <= 1:
        return curve
    places = pl.int_range(pl.len())
    return curve.filter((places % every == 0) | (places == pl.len() - 1))


def _range(found: ByFactor, frame: pl.DataFrame, measure: str) -> tuple[float, float]:
    """The lowest and the highest value of a measure over all factors; 0 and 1 without any."""
    columns = [
        column for e in found.factors if e.measure == measure for column in e.columns.values()
    ]
    if not columns:
        return 0.0, 1.0
    values = frame.select(pl.concat_list(columns).explode().alias("value")).drop_nulls()["value"]
    finite = values.filter(values.is_finite())
    return (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)  # type: ignore[return-value]
