"""The results of an experiment's variants as a table."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from ablab.config import counted
from ablab.config.html import Cell, Markup, escaped
from ablab.config.shown import Displayed, Shown
from ablab.logbook.answer import Answer
from ablab.logbook.result_table import Cell as PageCell
from ablab.logbook.result_table import ResultTable, result_table
from ablab.read.summary import MEASURES, VariantSummary
from ablab.store.metrics import experiment_metrics, key_column, unwatched_columns
from ablab.store.store import ExperimentRecord, RunRecord, Store


@dataclass(frozen=True, repr=False)
class VariantTable(Displayed):
    """The final results: a row for each variant, with every run of a measure as a dot.

    Attributes:
        name: The experiment's name.
        frame: A row for each variant: its keys, ``n_params``, ``steps``, ``runs`` and ``ended``
            (how many finished or were stopped), and for each measure ``MEASURE`` the median over
            seeds, ``MEASURE/low`` and ``MEASURE/high``.
        page: The table of the entry's page.
    """

    name: str
    frame: pl.DataFrame
    page: ResultTable

    @classmethod
    def of(
        cls,
        store: Store,
        record: ExperimentRecord,
        runs: Sequence[RunRecord],
        summary: Sequence[VariantSummary],
        answer: Answer,
    ) -> "VariantTable":
        """The table of an experiment."""
        metrics = experiment_metrics(store, record, unwatched_columns)
        page = result_table(record, runs, metrics, answer)
        return cls(record.name, _frame(summary), page)

    def shown(self) -> Shown:
        """The table of the entry's page."""
        return Shown(
            f"{self.name}: {counted(len(self.page.rows), 'variant')}, median [range] over seeds",
            self.page.notes,
            [
                f"{name} ({scale})" if scale else name
                for name, scale in zip(self.page.header, self.page.scales, strict=True)
            ],
            [[_cell(cell) for cell in row] for row in self.page.rows],
            "result.table().frame",
        )


def _cell(cell: PageCell) -> Cell:
    """A cell with its count, its value and its dots."""
    parts = [f"<span>{escaped(each)}</span>" for each in (cell.count, cell.value) if each]
    return Cell(cell.text, Markup(f"{'<br>'.join(parts)}{cell.strip}"))


def _frame(summary: Sequence[VariantSummary]) -> pl.DataFrame:
    keys = list(dict.fromkeys(key for each in summary for key in each.keys))
    columns: dict[str, pl.Series | list[object]] = {
        key: key_column([each.keys.get(key) for each in summary]) for key in keys
    }
    columns["n_params"] = [each.n_params for each in summary]
    columns["steps"] = [each.steps[1] for each in summary]
    columns["runs"] = [sum(each.statuses.values()) for each in summary]
    columns["ended"] = [
        each.statuses.get("finished", 0) + each.statuses.get("stopped", 0) for each in summary
    ]
    for name in MEASURES:
        spreads = [each.measures.get(name) for each in summary]
        if any(each is not None for each in spreads):
            columns[name] = [None if each is None else each.median for each in spreads]
            columns[f"{name}/low"] = [
                None if each is None else min(each.values) for each in spreads
            ]
            columns[f"{name}/high"] = [
                None if each is None else max(each.values) for each in spreads
            ]
    return pl.DataFrame(columns, strict=False)
