"""The results of an analysis: a :class:`Finding` for one model, :class:`Findings` for many."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from numpy.typing import NDArray

from ablab.config import Config, counted
from ablab.config.html import Markup
from ablab.config.html import table as html_table
from ablab.config.shown import Displayed, Shown
from ablab.experiments.inactive import Inactive, labelled
from ablab.experiments.short_names import short_names
from ablab.store.metrics import key_column

DOES_NOT_APPLY = "does_not_apply"  # a fact about a stored finding that has no numbers
_SHOWN_ROWS, _TABLE_ROWS, _TABLE_COLUMNS = 10, 10, 12  # in a notebook
FRONT = ("run", "step")  # added in front of every table
_NO_KEYS = ("run", "seed", "step", "name", "value")  # columns of scalars


@dataclass(frozen=True)
class Finding:
    """The result of an analysis for one model.

    Attributes:
        scalars: Numbers by name. None stands for a number that does not exist; so does one that is
            not finite.
        tables: Frames by name, with a row for each parameter, head, position, or whatever the table
            is about. Columns ``run`` and ``step`` are added in front.
        arrays: Arrays of numbers by name.
    """

    scalars: Mapping[str, float | None] = field(default_factory=dict)
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, table in self.tables.items():
            taken = [column for column in FRONT if column in table.columns]
            if taken:
                raise ValueError(
                    f"table {name!r} has a column {taken[0]!r}, a name that ablab adds"
                )


@dataclass(frozen=True)
class ModelFinding:
    """A finding and the model that it belongs to.

    Attributes:
        finding: The finding; None where the analysis does not apply, or failed.
        run: The run's id; None for a model from elsewhere.
        step: The step; None for a model from elsewhere.
        keys: The seed, and the variant's keys with their values.
        note: Why there is no finding.
    """

    finding: Finding | None
    run: str | None
    step: int | None
    keys: Mapping[str, Any]
    note: str | None = None


@dataclass(frozen=True, repr=False)
class Findings(Displayed):
    """The results of an analysis for one or more models.

    Attributes:
        analysis: The analysis's name.
        question: The question that it answers.
        settings: Its settings.
        scalars: A row for each run, step and scalar: ``run``, ``seed``, the variants' keys,
            ``step``, ``name`` (``analysis/NAME/WHAT``) and ``value``.
        tables: The tables by name, each with ``run`` and ``step`` in front of its own columns.
        arrays: The arrays by name, each by run and step.
        notes: Why there is no finding for some of the models, one sentence each.
        nullable: The keys of which null is a value; of others, it means that they do not vary. None
            if it can be a value of all.
    """

    analysis: str
    question: str
    settings: Config
    scalars: pl.DataFrame
    tables: dict[str, pl.DataFrame]
    arrays: dict[str, dict[tuple[str | None, int | None], NDArray[Any]]]
    notes: tuple[str, ...] = ()
    nullable: frozenset[str] | None = None

    def variants(self) -> list[tuple[str, pl.DataFrame]]:
        """The scalars of each variant, with its short name; it is empty if there is only one."""
        keys = [column for column in self.scalars.columns if column not in _NO_KEYS]
        if not keys:
            return [("", self.scalars)]
        cells = self.scalars.select(keys).unique(maintain_order=True).to_dicts()
        names = short_names([labelled(cell, self.nullable) for cell in cells])
        return [
            (name if len(cells) > 1 else "", self._of(cell))
            for name, cell in zip(names, cells, strict=True)
        ]

    def _of(self, cell: Mapping[str, Any]) -> pl.DataFrame:
        conditions = [pl.col(key).eq_missing(pl.lit(value)) for key, value in cell.items()]
        return self.scalars.filter(conditions)

    def __str__(self) -> str:
        lines = [f"{self.analysis}: {self.question}"]
        with pl.Config(tbl_hide_dataframe_shape=True, tbl_rows=20, tbl_cols=12, fmt_str_lengths=60):
            for name, table in self.tables.items():
                lines += [f"{name} ({table.height:,} rows)", str(table)]
            if not self.tables:
                lines += [f"scalars ({self.scalars.height:,} rows)", str(self.scalars)]
        return "\n".join([*lines, *self.notes])

    def shown(self) -> Shown:
        """The question, the scalars after the last step of each run, and the tables, folded."""
        ends = pl.col("step").max().over("run")
        last = self.scalars.filter(pl.col("step").eq_missing(ends))
        names = [name for name in last.columns if name != "name" and last[name].null_count() == 0]
        columns = ["name", *(name for name in names if name != "value"), "value"]
        rows = last.select(columns).with_columns(
            pl.col("name").str.strip_prefix(f"analysis/{self.analysis}/")
        )
        return Shown(
            f"{self.analysis}: {self.question}",
            [*self._of_what(), *self.notes],
            columns,
            list(rows.head(_SHOWN_ROWS).iter_rows()),
            "found.scalars",
            rows.height,
            below=[(f"table {name}", _frame(name, each)) for name, each in self.tables.items()],
        )

    def _of_what(self) -> list[str]:
        """Which runs and steps there are, and which are shown; nothing of a bare model."""
        known = self.scalars.drop_nulls(["run", "step"])
        if not known.height:
            return []
        runs, steps = (counted(known[key].n_unique(), key) for key in ("run", "step"))
        of_each = " of each run" if known["run"].n_unique() > 1 else ""
        return [f"{runs}, {steps}; the last step{of_each} is shown"]


def joined(
    name: str,
    question: str,
    settings: Config,
    findings: Sequence[ModelFinding],
    notes: Sequence[str] = (),
) -> Findings:
    """Joins the findings of several models.

    Args:
        name: The analysis's name.
        question: The question that it answers.
        settings: Its settings.
        findings: A finding for each model.
        notes: What else should be known, one sentence each.
    """
    keys = list(dict.fromkeys(key for each in findings for key in each.keys))
    rows = [
        {
            "run": each.run,
            **{key: each.keys.get(key) for key in keys},
            "step": each.step,
            "name": f"analysis/{name}/{what}",
            "value": None if value is None or not math.isfinite(value) else float(value),
        }
        for each in findings
        if each.finding is not None
        for what, value in each.finding.scalars.items()
    ]
    schema = {"run": pl.String, "step": pl.Int64, "name": pl.String, "value": pl.Float64}
    columns = ["run", *keys, "step", "name", "value"]
    inactive = {key for each in findings for key, v in each.keys.items() if isinstance(v, Inactive)}
    scalars = pl.DataFrame(
        {
            column: pl.Series(column, [row[column] for row in rows], schema[column])
            if column in schema
            else key_column([row[column] for row in rows])
            for column in columns
        }
    )
    tables: dict[str, list[pl.DataFrame]] = {}
    arrays: dict[str, dict[tuple[str | None, int | None], NDArray[Any]]] = {}
    for each in findings:
        if each.finding is None:
            continue
        for what, array in each.finding.arrays.items():
            arrays.setdefault(what, {})[each.run, each.step] = array
        for what, table in each.finding.tables.items():
            run = pl.lit(each.run, pl.String).alias("run")
            step = pl.lit(each.step, pl.Int64).alias("step")
            tables.setdefault(what, []).append(table.select(run, step, pl.all()))
    return Findings(
        name,
        question,
        settings,
        scalars,
        {what: pl.concat(found, how="diagonal_relaxed") for what, found in tables.items()},
        arrays,
        tuple(dict.fromkeys([*notes, *(each.note for each in findings if each.note is not None)])),
        frozenset(keys) - inactive,
    )


def _frame(name: str, frame: pl.DataFrame) -> Markup:
    """The first rows and columns of a frame as an HTML table."""
    columns = frame.columns[:_TABLE_COLUMNS]
    rows = list(frame.select(columns).head(_TABLE_ROWS).iter_rows())
    return html_table(columns, rows, f"found.tables[{name!r}]", frame.height)
