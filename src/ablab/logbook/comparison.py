"""Experiments or runs side by side: sentences, tables and curves, for a page and a terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from ablab.experiments.variant import variant_label
from ablab.logbook.drawn_curves import DRAWN, column_titles, drawn_curves
from ablab.logbook.plotdata import PlotData, plot_data
from ablab.logbook.variant_curves import curves


@dataclass(frozen=True)
class Part:
    """One of the experiments or runs.

    Attributes:
        name: Its name.
        question: Its question; empty if there is none.
        sentences: What came out.
        entry: The folder of its entry, if it is in the same logbook.
        state: The state of its answer, such as ``open``.
    """

    name: str
    question: str
    sentences: list[str]
    entry: str | None = None
    state: str = "answered"


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: Its heading.
        header: The names of its columns.
        rows: Its cells.
        note: What the cells mean; may be empty.
        texts: The columns whose cells are long.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    note: str = ""
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """A comparison.

    Attributes:
        targets: The experiments or runs, as they were given.
        kind: What they are: ``experiments`` or ``runs``.
        measure: The measure of the table; None if there is none.
        parts: The experiments or runs, each with what came out.
        findings: What the comparison says.
        tables: The tables.
        drawn: The curves.
        data: The comparison as plain data.
    """

    targets: list[str]
    kind: str
    measure: str | None
    parts: list[Part]
    findings: list[str]
    tables: list[Table]
    drawn: "Drawn"
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """Curves on shared axes.

    Attributes:
        titles: The title of each column.
        figures: The static figure of each column, as SVG.
        plot: The data of the interactive figure.
    """

    titles: dict[str, str]
    figures: dict[str, str]
    plot: PlotData


def draw(
    metrics: pl.DataFrame,
    keys: Sequence[str],
    cells: Sequence[Mapping[str, Any]],
    levels: dict[str, float],
    marks: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Drawn:
    """Draws the curves of all variants on shared axes.

    Args:
        metrics: A row for each run and step, with the variant's keys, ``seed`` and ``step``.
        keys: The keys.
        cells: The keys and values of all variants, in order.
        levels: Natural levels that hold for all of them, by name.
        marks: The marks on the curves of the training loss, by label of the variant.
    """
    drawn = drawn_curves(metrics, list(keys))
    titles = column_titles(drawn)
    known = {"train_loss": marks}
    figures = {
        column: curves(each, column, levels, known.get(column), cells)
        for column, each in drawn.items()
    }
    return Drawn(titles, figures, plot_data(drawn, titles, levels, known, cells))


def drawn_columns(names: list[str]) -> list[str]:
    """The columns that are drawn, for reading metrics."""
    return [name for name in names if name in DRAWN]


def setting_text(value: Any) -> str:
    """The value of a setting in a table."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def cell_label(cell: Mapping[str, Any]) -> str:
    """The label by which curves and marks know a variant."""
    return variant_label(cell)
