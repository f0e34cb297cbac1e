"""The section of an entry on the factors of a task's samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import polars as pl
from matplotlib.figure import Figure

from ablab.experiments.experiment import variant_label
from ablab.logbook.svg import PALETTE, figure_style, svg
from ablab.read.by_factor import ByFactor, FactorColumns, by_factor, factor_sentences
from ablab.store.store import ExperimentRecord, RunRecord, Store

MOST_VARIANTS = 12
"""With more variants than this, only the first have a figure; readings are of all."""
MOST_FACTORS = 6  # with a figure, which bounds its width
_POINTS = 100  # evaluations of a curve
_WIDE_RANGE = 30.0  # ratio of losses above which their axis is logarithmic
_LABELS = {"eval_loss": "held-out loss", "eval_accuracy": "held-out accuracy"}


@dataclass(frozen=True)
class VariantFactors:
    """What a page shows of a variant's factors.

    Attributes:
        label: The label of the variant.
        file: The name of the figure's file.
        sentences: Readings.
        drawing: The figure as SVG; empty if the variant has none.
    """

    label: str
    file: str
    sentences: list[str]
    drawing: str


def factor_section(
    store: Store, record: ExperimentRecord, runs: Sequence[RunRecord]
) -> list[VariantFactors]:
    """The factors of each variant that has any; empty if the task has none.

    Args:
        store: The store.
        record: The experiment.
        runs: Its runs.
    """
    found = by_factor(store, record)
    if not found.factors:
        return []
    sentences = factor_sentences(found, runs)
    groups: dict[str, list[str]] = {}
    for run in runs:
        groups.setdefault(variant_label(run.variant), []).append(run.run)
    made = []
    for place, (label, members) in enumerate(groups.items()):
        frame = found.frame.filter(pl.col("run").is_in(members))
        drawing = factor_figure(found, frame) if place < MOST_VARIANTS and frame.height else ""
        if drawing or sentences.get(label):
            file = f"by-factor-{place}"
            made.append(VariantFactors(label, file, sentences.get(label, []), drawing))
    return made


def factor_figure(found: ByFactor, frame: pl.DataFrame) -> str:
    """The measures of a variant by factor as an SVG: a column per factor, a row per measure.

    Args:
        found: The columns by factor and measure; of many factors, the first are drawn.
        frame: The evaluations of the variant's runs.
    """
    factors = list(dict.fromkeys(each.factor for each in found.factors))[:MOST_FACTORS]
    measures = [name for name in _LABELS if any(e.measure == name for e in found.factors)]
    drawn = {(each.measure, each.factor): each for each in found.factors}
    with figure_style():
        size = (1.2 + 2.6 * len(factors), 0.6 + 2.1 * len(measures))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(
            len(measures), len(factors), squeeze=False, sharex=True, sharey="row"
        )
        for row, measure in enumerate(measures):
            wide = _is_wide(found, frame, measure)
            for place, factor in enumerate(factors):
                axes = grid[row][place]
                if (measure, factor) in drawn:
                    _draw(axes, drawn[measure, factor], frame)
                if wide:
                    axes.set_yscale("log")
                axes.spines[["top", "right"]].set_visible(False)
                if row == 0:
                    axes.set_title(factor, fontsize=9)
                    axes.legend(frameon=False, fontsize=7, handlelength=1.2)
                if row == len(measures) - 1:
                    axes.set_xlabel("step")
            grid[row][0].set_ylabel(_LABELS[measure])
        return svg(figure)


def colours(values: int) -> list[Any]:
    """A colour for each value of a factor: of two, distinct ones; of more, a sequential scale."""
    if values <= 2:
        return list(PALETTE[:values])
    return [mpl.colormaps["viridis"](0.85 * place / (values - 1)) for place in range(values)]


def _draw(axes: Any, each: FactorColumns, frame: pl.DataFrame) -> None:
    """The curves of a factor's values: each run, and their median as far as all runs have come."""
    for (value, column), colour in zip(
        each.columns.items(), colours(len(each.columns)), strict=True
    ):
        known = frame.select("run", "step", column).drop_nulls().sort("step")
        runs = known["run"].unique(maintain_order=True).to_list()
        for run in runs if len(runs) > 1 else ():
            curve = _thinned(known.filter(pl.col("run") == run))
            axes.plot(curve["step"], curve[column], color=colour, lw=0.5, alpha=0.45)
        middle = _thinned(
            known.group_by("step")
            .agg(pl.col(column).median(), pl.len().alias("runs"))
            .filter(pl.col("runs") == len(runs))
            .sort("step")
        )
        axes.plot(middle["step"], middle[column], color=colour, lw=1.4, label=value)


def _thinned(curve: pl.DataFrame) -> pl.DataFrame:
    """Every n-th evaluation and the last, at most about ``_POINTS``."""
    every = -(-curve.height // _POINTS)
    if every <= 1:
        return curve
    places = pl.int_range(pl.len())
    return curve.filter((places % every == 0) | (places == pl.len() - 1))


def _is_wide(found: ByFactor, frame: pl.DataFrame, measure: str) -> bool:
    """Whether the values of a loss span a range that needs a logarithmic axis."""
    columns = [
        c for each in found.factors if each.measure == measure for c in each.columns.values()
    ]
    low = frame.select(pl.min_horizontal(columns).min()).item()
    high = frame.select(pl.max_horizontal(columns).max()).item()
    return bool(measure == "eval_loss" and low and low > 0 and high / low > _WIDE_RANGE)
