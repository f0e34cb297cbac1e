"""Outcomes of comparisons of runs with an outcome, such as having left a plateau, with the others.

Which runs have the outcome is not chosen, so they can differ from the others in other ways: what is
shown is that a measure goes with the outcome, not that either is the cause. Runs are compared
within each cell of the grid, so that settings do not matter, and the seed is the unit, because runs
of a seed share their batches.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ablab.experiments.conditions import parse_condition
from ablab.experiments.expectations import Expectation
from ablab.read.hypothesis_tests import Floats, Sample, gaps
from ablab.read.judgements import Found, Outcome
from ablab.read.measured import is_paused, shown
from ablab.read.measures import measure_table
from ablab.read.statistics.outcomes import exchanged_seeds, least_p
from ablab.store.store import ExperimentRecord, Store

# No key has this name: those that begin with a part of the configuration are settings.
OUTCOME = "train.outcome?"
"""The column that says whether a run has the outcome."""
_PAUSE = "train.pause?"  # why halving leaves that open


def with_outcomes(
    store: Store, record: ExperimentRecord, frame: pl.DataFrame, text: str
) -> pl.DataFrame:
    """Measured values with a column that says whether a run meets a condition.

    Where halving paused a run before that was known, its value is not compared: it has none, for
    this reason.

    Args:
        store: The store.
        record: The experiment.
        frame: A row for each run, with ``run``.
        text: The condition.

    Raises:
        InputError: The condition's column was not logged.
    """
    condition = parse_condition(text)
    table = measure_table(store, record, condition.measure.text)
    missed = table.filter(is_paused() & pl.col("value").is_null())
    paused = dict(missed.select("run", "reason").iter_rows())
    known = {}
    for run, value, bound, status in table.select(
        "run", "value", "not_before", "status"
    ).iter_rows():
        is_open = status == "failed" or (run in paused and condition.kind == "reached")
        known[run] = None if is_open else condition.holds(value, bound)
    runs = frame["run"].to_list()
    outcomes = [known.get(run) for run in runs]
    reasons = [paused.get(run) if known.get(run) is None else None for run in runs]
    why, is_known = pl.col(_PAUSE), pl.col(_PAUSE).is_null()
    return (
        frame.with_columns(
            pl.Series(OUTCOME, outcomes, pl.Boolean), pl.Series(_PAUSE, reasons, pl.String)
        )
        .with_columns(
            pl.when(is_known).then("value").alias("value"),
            pl.when(is_known).then("not_before").alias("not_before"),
            pl.coalesce(why, "reason").alias("reason"),
        )
        .drop(_PAUSE)
    )


@dataclass(frozen=True)
class _Runs:
    """Values and outcomes of the seeds that have both in all cells.

    Attributes:
        values: The values, (cells, seeds).
        outcomes: Whether a run has the outcome, (cells, seeds).
        left_out: The number of seeds that lack something.
    """

    values: Floats
    outcomes: "np.ndarray[Any, np.dtype[np.bool_]]"
    left_out: int


def compare(sample: Sample, expectation: Expectation) -> Found:
    """Whether values are lower, or higher, in runs with an outcome than in the others.

    Args:
        sample: The runs, with the outcomes of :func:`with_outcomes`.
        expectation: The expectation.
    """
    condition = expectation.lower_if or expectation.higher_if
    if sample.unreached:
        count = f"{sample.unreached} of {sample.frame.height} runs"
        return Found("undecided", f"{count} did not reach the step that is compared")
    known = sample.known.filter(pl.col(OUTCOME).is_not_null())
    runs = _by_seed(sample, known)
    having, every = int(runs.outcomes.sum()), runs.outcomes.size
    if not every:
        where = f" in each of {runs.values.shape[0]} cells" if runs.values.shape[0] > 1 else ""
        evidence = f"no seed has a value and a known outcome{where}"
        return Found("undecided", evidence + gaps(sample))
    if having in (0, every):
        which = "all" if having else "none"
        evidence = f"{condition} in {which} of {every} runs, so there is nothing to compare"
        return Found("undecided", evidence + gaps(sample))
    sign = 1 if expectation.relation == "lower_if" else -1
    moved = runs.values + sign * expectation.by * runs.outcomes
    p_lower, p_higher = exchanged_seeds(moved, runs.outcomes)
    p, against = (p_lower, p_higher)[::sign]
    evidence = (
        f"{condition} in {having} of {every} runs; {_medians(runs)}"
        f"{_test(expectation, runs, min(p, against), sample.alpha)}{gaps(sample)}"
    )
    outcome: Outcome = (
        "held" if p < sample.alpha else "failed" if against < sample.alpha else "undecided"
    )
    return Found(outcome, evidence, p=min(p, against))


def _medians(runs: _Runs) -> str:
    """The medians of both kinds; in several cells, that of the differences within them."""
    pairs = [
        (float(np.median(values[own])), float(np.median(values[~own])))
        for values, own in zip(runs.values, runs.outcomes, strict=True)
        if own.any() and not own.all()
    ]
    if len(runs.values) == 1:
        ((these, others),) = pairs
        return f"median {shown(these)} in these vs {shown(others)}"
    if not pairs:
        return f"none of {len(runs.values)} cells has runs of both kinds"
    cells = f"{len(pairs)} cells" if len(pairs) > 1 else "the cell that has both"
    middle = float(np.median([these - others for these, others in pairs]))
    return f"median of the differences within {cells} {shown(middle)}"


def _test(expectation: Expectation, runs: _Runs, p: float, alpha: float) -> str:
    """The result of the test as text."""
    by = f", for a difference of {expectation.by:g}" if expectation.by else ""
    cells, seeds = runs.values.shape
    where = f"ranks within {cells} cells" if cells > 1 else "ranks"
    least = least_p(runs.outcomes)
    few = f", and no less is possible than {least:.2g}" if least >= alpha else ""
    gone = f", {runs.left_out} left out that lack a run" if runs.left_out else ""
    return f"; {where}, {seeds} seeds exchanged{by}: p = {p:.2g}{few}{gone}"


def _by_seed(sample: Sample, known: pl.DataFrame) -> _Runs:
    cells: dict[tuple[Any, ...], int] = {}
    seeds = sample.frame["seed"].unique().sort().to_list()
    found: dict[tuple[int, int], tuple[float, bool]] = {}
    columns = known.select(*sample.keys, "seed", "value", OUTCOME)
    for *cell, seed, value, outcome in columns.iter_rows():
        place = cells.setdefault(tuple(cell), len(cells))
        found[place, seeds.index(seed)] = value, outcome
    whole = [s for s in range(len(seeds)) if all((c, s) in found for c in range(len(cells)))]
    rows = [[found[c, s] for s in whole] for c in range(len(cells))]
    values = np.array([[value for value, _ in row] for row in rows], dtype=np.float64)
    outcomes = np.array([[outcome for _, outcome in row] for row in rows], dtype=bool)
    return _Runs(values, outcomes, len(seeds) - len(whole))
