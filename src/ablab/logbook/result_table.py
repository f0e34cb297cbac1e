"""The table of results: a row for each variant, with every run of each measure as a dot."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from ablab.config.wording import counted
from ablab.experiments.measures import parse_measure
from ablab.experiments.short_names import short_names
from ablab.logbook.answer import Answer
from ablab.logbook.variant_values import MeasuredVariants, VariantValues, variant_values
from ablab.read.curves.numbers import number
from ablab.read.measure_words import column_words
from ablab.read.measured import Measured, measured_columns
from ablab.read.medians import spread_words
from ablab.read.short_variants import only_words
from ablab.read.stopped import stop_caveat
from ablab.read.summary import MEASURES, Final, early_words, final_values
from ablab.store.metrics import key_column
from ablab.store.store import ExperimentRecord, RunRecord

_WIDTH, _HEIGHT, _EDGE = 116, 12, 4  # of a strip of dots, in pixels
_ENDED = ("finished", "stopped")


@dataclass(frozen=True)
class Cell:
    """A measure of a variant.

    Attributes:
        value: The median and the range.
        count: How many runs learnt or got there, and of how few steps; empty if neither applies.
        strip: The runs as an inline SVG of dots; may be empty.
        remark: How many runs have no value, and why; may be empty.
    """

    value: str
    count: str = ""
    strip: str = ""
    remark: str = ""

    @property
    def text(self) -> str:
        """The count, the value and the remark in one line."""
        told = ": ".join(each for each in (self.count, self.value) if each)
        return "; ".join(each for each in (told, self.remark) if each)


@dataclass(frozen=True)
class ResultTable:
    """The results of all variants.

    Attributes:
        header: The titles of the columns.
        scales: For each column, the range of its dots as text; empty without dots.
        rows: The cells of each variant that is shown, in the grid's order.
        notes: What the table needs to be understood: which runs learnt, which evaluation a
            held-out value is of, and what a stop rule decides.
    """

    header: list[str]
    scales: list[str]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)


def result_table(
    record: ExperimentRecord,
    runs: Sequence[RunRecord],
    metrics: pl.DataFrame,
    answer: Answer,
    shown: Collection[int] | None = None,
) -> ResultTable:
    """The answer's measure and the final measures of each variant.

    Args:
        record: The experiment.
        runs: Its runs.
        metrics: A row for each run and step, with the columns of the final measures.
        answer: The answer, with the values of its measure.
        shown: The places of the variants with a row; by default, all have one.
    """
    last = {run.run: run.step for run in runs}
    ends = final_values(metrics, last)
    measures = _measures(record, runs, ends, answer)
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(str(run.variant), []).append(run)
    names = short_names([group[0].variant for group in groups.values()])
    header = ["variant", *(title for title, _ in measures), "runs", "steps"]
    scales = ["", *(_scale_words(found) for _, found in measures), "", ""]
    rows = []
    for place, (name, group) in enumerate(zip(names, groups.values(), strict=True)):
        if shown is not None and place not in shown:
            continue
        cells = [_cell(found, found.variants[place]) for _, found in measures]
        rows.append([Cell(name), *cells, Cell(_statuses(group)), Cell(_steps(group))])
    ended = {run.run: ends[run.run] for run in runs if run.status in _ENDED}
    notes = [_learnt_words(title, found) for title, found in measures]
    notes.append(early_words(ended, last))
    notes.append(stop_caveat(record, runs))
    return ResultTable(header, scales, rows, list(dict.fromkeys(filter(None, notes))))


def _learnt_words(title: str, found: MeasuredVariants) -> str:
    """Which runs are said to have learnt; empty if the runs are not told apart."""
    if found.cut is None or found.better is None or found.nearest is None:
        return ""
    side = "above" if found.better == "higher" else "below"
    near = " and ".join(f"{each:.3g}" for each in found.nearest)
    cut = f"{side} {found.cut:.3g}"
    measure = parse_measure(found.measure)
    if not measure.is_end:
        return f"The runs fall into two groups by their {title}, next to each other at {near}."
    if measure.function != "final":
        return f"A run learnt if its {title} is {cut} (the nearest are {near})."
    title = column_words(measure.column)
    return f"A run learnt if its {title} ended {cut} (the nearest ended at {near})."


def _measures(
    record: ExperimentRecord,
    runs: Sequence[RunRecord],
    ends: Mapping[str, Mapping[str, Final]],
    answer: Answer,
) -> list[tuple[str, MeasuredVariants]]:
    """The measures that any run has, with their titles: that of the answer first."""
    found = []
    if answer.values is not None and answer.measure is not None:
        plain = [f"final({name})" for name in MEASURES] + ["final(loss)", "final(accuracy)"]
        mine = variant_values(record, answer.measure, answer.values, runs)
        if answer.measure not in plain and mine.all_values:
            found.append((answer.words, mine))
    frames = {name: _finals(runs, ends, name) for name in MEASURES}
    if frames[MEASURES[-1]]["value"].equals(frames["eval_accuracy"]["value"]):
        del frames[MEASURES[-1]]
    for name, frame in frames.items():
        values = variant_values(record, f"final({name})", frame, runs)
        if values.all_values:
            found.append((column_words(name), values))
    return found


def _finals(
    runs: Sequence[RunRecord], ends: Mapping[str, Mapping[str, Final]], column: str
) -> pl.DataFrame:
    """A column at the end of each run that ended as planned, as a table of measured values."""
    values = []
    for run in runs:
        value = ends.get(run.run, {}).get(column) if run.status in _ENDED else None
        if value is None:
            why = "not evaluated" if run.status in _ENDED else run.status
            values.append(Measured(reason=why))
        else:
            early = None if value.step == run.step else f"at step {value.step}"
            values.append(Measured(value.value, reason=early))
    keys = list(dict.fromkeys(key for run in runs for key in run.variant))
    return pl.DataFrame(
        {
            "run": [run.run for run in runs],
            **{key: key_column([run.variant.get(key) for run in runs]) for key in keys},
            "seed": [run.seed for run in runs],
            **measured_columns(values),
            "status": pl.Series([run.status for run in runs], dtype=pl.String),
        },
        strict=False,
    )


def _cell(found: MeasuredVariants, row: VariantValues) -> Cell:
    known = row.learnt or row.values
    value = ""
    if known:
        bound = min(row.missed, default=None)
        value = spread_words(known, number, len(row.missed), bound)
    told = [only_words(row.few_steps)] if row.few_steps is not None and value else []
    if row.count is not None or found.has_missed:
        done, total = row.count or (len(row.values), row.runs)
        it = " it" if found.has_missed else ""
        told.insert(0, f"{done} of {counted(total, 'run')} {found.said}{it}")
    lost = [f"{count} {reason}" for reason, count in row.lost.items()]
    remark = ", ".join(lost) if found.all_values else ""
    return Cell(value, "; ".join(told), strip(found, row), remark)


def strip(found: MeasuredVariants, row: VariantValues) -> str:
    """A variant's runs as dots on the scale of all variants, as an inline SVG; empty without any.

    Open dots are runs that did not learn, arrows those that did not reach the step.
    """
    every = found.all_values
    if not row.values and not row.missed:
        return ""
    wide = found.is_wide
    low, high = min(every), max(every)

    def x(value: float) -> str:
        if high == low:
            share = 0.5
        elif wide:
            share = math.log(value / low) / math.log(high / low)
        else:
            share = (value - low) / (high - low)
        return f"{_EDGE + share * (_WIDTH - 2 * _EDGE):.1f}".removesuffix(".0")

    middle = _HEIGHT // 2
    learnt = row.values if row.learnt is None else row.learnt
    rest = [] if row.learnt is None else [each for each in row.values if each not in row.learnt]
    parts = [f'<path class="axis" d="M0 {middle}H{_WIDTH}"/>']
    if row.median is not None:
        parts.append(f'<path class="mid" d="M{x(row.median)} 0V{_HEIGHT}"/>')
    parts += [f'<circle class="{name}" cx="{x(each)}" cy="{middle}" r="3"/>'
              for name, values in (("in", learnt), ("out", rest)) for each in values]  # fmt: skip
    parts += [f'<path class="out" d="M{x(each)} 2l4 4l-4 4z"/>' for each in row.missed]
    return (
        f'<svg class="strip" width="{_WIDTH}" height="{_HEIGHT}" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


def _scale_words(found: MeasuredVariants) -> str:
    """The ends of the strips' scale."""
    low, high = number(min(found.all_values)), number(max(found.all_values))
    return low if low == high else f"{low} to {high}{', log' if found.is_wide else ''}"


def _statuses(runs: Sequence[RunRecord]) -> str:
    statuses = [run.status for run in runs]
    return ", ".join(f"{statuses.count(each)} {each}" for each in dict.fromkeys(statuses))


def _steps(runs: Sequence[RunRecord]) -> str:
    low, high = min(run.step for run in runs), max(run.step for run in runs)
    return f"{high:,}" if low == high else f"{low:,} to {high:,}"
