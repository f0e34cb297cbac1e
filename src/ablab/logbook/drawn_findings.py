"""Findings with their figures, for notebooks and for ``ablab figure``."""

from contextlib import suppress
from dataclasses import dataclass, fields
from html import escape
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from ablab.analysis.analysis import find_analysis
from ablab.analysis.chosen import stored_runs
from ablab.analysis.figures import AnalysisFigure, Curves
from ablab.analysis.finding import Findings
from ablab.analysis.stored import shown_findings
from ablab.config import InputError, Problem, nearest
from ablab.config.html import Markup, table
from ablab.config.shown import Shown
from ablab.logbook.finding_figures import LOSSES, draw, named_figure
from ablab.logbook.finding_panels import Drawing
from ablab.logbook.hover import with_cells
from ablab.logbook.svg import figure_style, svg, themed
from ablab.store.findings import PREFIX
from ablab.store.metrics import read_runs
from ablab.store.store import Store


@dataclass(frozen=True, repr=False)
class DrawnFindings(Findings):
    """Findings that can be drawn; otherwise as :class:`ablab.analysis.finding.Findings`.

    Attributes:
        figures: What its figures show.
        losses: The columns ``run``, ``step`` and the losses of the runs; None of a model from
            elsewhere.
    """

    figures: tuple[AnalysisFigure, ...] = ()
    losses: pl.DataFrame | None = None

    @classmethod
    def of(cls, found: Findings, store: Store | None) -> "DrawnFindings":
        """Findings of an analysis, with its figures.

        Args:
            found: The findings.
            store: The store of the runs; None for a model from elsewhere.
        """
        own = {each.name: getattr(found, each.name) for each in fields(Findings)}
        runs = found.scalars["run"].drop_nulls().unique().to_list()
        losses = None if store is None or not runs else _losses(store, runs)
        return cls(**own, figures=find_analysis(found.analysis).figures, losses=losses)

    def figure(self, name: str | None = None) -> Figure:
        """A figure of the analysis; the first one by default.

        Raises:
            InputError: There is no such figure, or nothing to draw.
        """
        if name is None and self.figures:
            name = self.figures[0].name
        return draw(self, named_figure(self.figures, name or "nothing"), self.losses).figure

    def drawn(self) -> Shown:
        """The first figure; the other ones and the numbers are folded."""
        drawn: list[tuple[str, Markup]] = []
        for each in self.figures:
            with suppress(InputError):  # it has nothing to draw
                drawn.append((each.title, _figure(draw(self, each, self.losses))))
        if not drawn:
            return self.shown()
        about = super().shown()
        numbers = ("numbers", table(about.header, about.rows, about.more, about.count))
        below = [(f"figure: {title}", found) for title, found in drawn[1:]]
        return Shown(
            about.title,
            self.notes,
            figure=drawn[0][1],
            below=[*below, numbers, *about.below],
        )


@dataclass(frozen=True)
class DrawableFinding:
    """A figure that can be drawn from the findings of a store.

    Attributes:
        name: ``ANALYSIS/FIGURE``.
        title: What one sees.
    """

    name: str
    title: str


def drawable_findings(store: Store, subject: str) -> list[DrawableFinding]:
    """The figures of the analyses of an experiment or a run.

    Raises:
        StoreError: There is no such experiment or run.
    """
    records = [run.record for run in stored_runs(store, subject)]
    return [
        DrawableFinding(f"{shown.name}/{each.name}", each.title)
        for shown in shown_findings(store, records)
        for each in shown.figures
        if shown.reason is None
    ]


def draw_finding(store: Store, subject: str, name: str) -> str:
    """A figure of an analysis, from the findings of a store, as an SVG document.

    Args:
        store: The store.
        subject: An experiment's name or a run's id.
        name: ``ANALYSIS/FIGURE``.

    Raises:
        InputError: There is no such figure, or nothing to draw.
    """
    records = [run.record for run in stored_runs(store, subject)]
    analysis, _, figure = name.removeprefix(PREFIX).rpartition("/")
    for shown in shown_findings(store, records):
        if shown.name == analysis:
            wanted = named_figure(shown.figures, figure)
            runs = [each.run for each in records]
            losses = _losses(store, runs) if isinstance(wanted, Curves) else None
            with figure_style():
                return svg(draw(shown.found, wanted, losses).figure)
    names = [each.name for each in drawable_findings(store, subject)]
    raise InputError(
        Problem(
            f"{subject} has no figure {name!r}",
            given=name,
            expected="one of " + ", ".join(names)
            if names
            else f"findings: ablab analyze {subject} {analysis or 'ANALYSIS'}",
            suggestion=nearest(name, names),
        )
    )


def _figure(drawing: Drawing) -> Markup:
    """A figure with its values under the cursor, in the colours around it."""
    with figure_style():
        found = with_cells(svg(drawing.figure), drawing.maps)
    caption = escape(drawing.caption)
    return Markup(f"<figure>{themed(found)}<figcaption>{caption}</figcaption></figure>")


def _losses(store: Store, runs: Any) -> pl.DataFrame:
    return read_runs(store, runs, lambda names: [name for name in names if name in LOSSES])
