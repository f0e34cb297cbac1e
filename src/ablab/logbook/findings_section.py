"""The sections of an entry on what analyses found in the trained models."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ablab.analysis.finding import Findings
from ablab.analysis.stored import ShownFindings, shown_findings
from ablab.analysis.summary import ScalarSummary, summarise
from ablab.config import InputError
from ablab.experiments.short_names import short_names
from ablab.logbook.finding_figures import draw
from ablab.logbook.finding_panels import Drawing, MapCells
from ablab.logbook.svg import svg
from ablab.store.metrics import experiment_metrics
from ablab.store.store import ExperimentRecord, RunRecord, Store

_MOST_CELLS = 60_000  # values under the cursor in the figures of an analysis
_DIGITS = 3
_LISTED = 4  # so many variants are named


@dataclass(frozen=True)
class FoundFigure:
    """A figure of a section.

    Attributes:
        file: The name of its file.
        caption: What is drawn.
        svg: The drawing.
        cells: The values of its heat maps as JSON, for the value under the cursor; empty without.
    """

    file: str
    caption: str
    svg: str
    cells: str


@dataclass(frozen=True)
class FoundSection:
    """What a page shows of an analysis.

    Attributes:
        name: The analysis, with settings that are not the defaults.
        question: The question that it answers.
        rows: Its numbers in short.
        variants: Whether the rows are of several variants.
        more: How many numbers are not among them.
        figures: Its figures.
        notes: What could not be drawn.
        looked_at: Which variants were looked at; empty if all were.
    """

    name: str
    question: str
    rows: list[ScalarSummary]
    variants: bool
    more: int
    figures: list[FoundFigure]
    notes: list[str] = field(default_factory=list)
    looked_at: str = ""


@dataclass(frozen=True)
class FoundSections:
    """All sections on analyses.

    Attributes:
        sections: The sections.
        not_applicable: Analyses that do not apply, with the reasons.
    """

    sections: list[FoundSection]
    not_applicable: list[tuple[str, str]]

    @property
    def files(self) -> dict[str, str]:
        """The drawings by the names of their files."""
        return {each.file: each.svg for section in self.sections for each in section.figures}


def findings_sections(
    store: Store, record: ExperimentRecord, runs: Sequence[RunRecord]
) -> FoundSections:
    """The sections on the analyses of an experiment's runs; none without findings.

    Raises:
        StoreError: A finding's file is missing or damaged.
    """
    shown = shown_findings(store, runs)
    if not shown:
        return FoundSections([], [])
    losses = experiment_metrics(
        store, record, lambda names: [n for n in names if n in ("train_loss", "eval_loss")]
    )
    sections = []
    for each in shown:
        if each.reason is not None:
            continue
        rows, more = summarise(each.found, each.headline)
        figures: list[FoundFigure] = []
        notes: list[str] = []
        for wanted in each.figures:
            try:
                figures.append(_figure(each, wanted.name, draw(each.found, wanted, losses)))
            except InputError as error:
                notes.append(error.problems[0].message)
        variants = any(row.variant for row in rows)
        sections.append(
            FoundSection(
                each.name,
                each.found.question,
                rows,
                variants,
                more,
                figures,
                notes,
                _looked_at(each.found, runs),
            )
        )
    return FoundSections(sections, [(e.name, e.reason) for e in shown if e.reason is not None])


def _looked_at(found: Findings, runs: Sequence[RunRecord]) -> str:
    """The variants that were looked at; empty if it was all of them."""
    names = short_names([run.variant for run in runs])
    known = {run.run: name for run, name in zip(runs, names, strict=True)}
    looked = {known[run] for run in found.scalars["run"].unique() if run in known}
    total = len(set(names))
    if not looked or len(looked) == total:
        return ""
    if len(looked) > _LISTED:
        return f"Looked at {len(looked)} of {total} variants."
    listed = [name for name in dict.fromkeys(names) if name in looked]
    return f"Looked at {len(looked)} of {total} variants: {'; '.join(listed)}."


def _figure(shown: ShownFindings, name: str, drawing: Drawing) -> FoundFigure:
    file = f"{shown.name}-{name}".replace(":", "-").replace("/", "-")
    return FoundFigure(
        f"analysis-{file}", drawing.caption, svg(drawing.figure), _cells(drawing.maps)
    )


def _cells(maps: Sequence[MapCells]) -> str:
    if not maps or sum(each.values.size for each in maps) > _MOST_CELLS:
        return ""
    return json.dumps(
        [
            {
                "name": each.name,
                "box": [round(edge, 4) for edge in each.box],
                "values": [
                    [None if not np.isfinite(v) else float(f"{v:.{_DIGITS}g}") for v in row]
                    for row in each.values.tolist()
                ],
            }
            for each in maps
        ],
        separators=(",", ":"),
    )
