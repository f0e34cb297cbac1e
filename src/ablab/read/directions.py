"""What is declared of a column, never guessed from its name: which values are better, its range."""

import math
from collections.abc import Sequence
from dataclasses import replace

from ablab.config import InputError, Problem
from ablab.experiments.measures import COUNTED, DIRECTED, VALUES, WORDS, Measure
from ablab.experiments.registration import derived_directions
from ablab.experiments.seeds import most_seeds
from ablab.read.statistics.scales import Range
from ablab.store.findings import is_finding_column
from ablab.store.store import ExperimentRecord, RunRecord, Store
from ablab.tasks.config import Direction, Limits


def column_direction(record: ExperimentRecord, column: str, variant: int = 0) -> Direction | None:
    """Which values of a column are better; None if it was not declared.

    Args:
        record: The experiment.
        column: The column of the metrics.
        variant: The place of a variant in the grid's order, since tasks can differ.
    """
    if is_finding_column(column):
        return record.scalars.direction_of(column)
    known = record.registration
    found = None if known is None else known.direction_of(column, variant)
    task = None if known is None else known.task(variant)
    if found is None and (task is None or not task.directions):  # from an earlier release
        return derived_directions(record.definition).direction_of(column)
    return found


def measure_range(record: ExperimentRecord, measure: Measure) -> Range | None:
    """The range of a measure's values; None if it was not declared.

    Steps, counts, seconds and numbers of parameters are not negative; ``diverged`` is 0 or 1. A lag
    can have either sign.
    """
    if measure.function == "diverged":
        return 0.0, 1.0
    if measure.function in (*COUNTED, *WORDS, "steps_to", "leaves", "transition", "noise"):
        return 0.0, math.inf
    if measure.function not in VALUES:
        return None
    found = _column_limits(record, measure.column)
    if found is None:
        return None
    low, high = found
    return -math.inf if low is None else low, math.inf if high is None else high


def _column_limits(record: ExperimentRecord, column: str) -> Limits | None:
    if is_finding_column(column):
        return record.scalars.limits_of(column)
    known = record.registration
    found = None if known is None else known.limits_of(column)
    task = None if known is None else known.task(0)
    if found is None and (task is None or not task.limits):  # from an earlier release
        return derived_directions(record.definition).limits_of(column)
    return found


def directed(
    store: Store, record: ExperimentRecord, runs: Sequence[RunRecord], measure: Measure
) -> dict[str, Measure]:
    """The measure with the direction of its column, for each run, by run id.

    Raises:
        InputError: The measure depends on which values are better, and that was not declared.
    """
    if measure.direction is not None or measure.function not in DIRECTED:
        return {run.run: measure for run in runs}
    seeds = most_seeds(record.definition)
    places = {row["run"]: row["position"] // seeds for row in store.members(record.id)}
    found = {}
    for run in runs:
        direction = column_direction(record, measure.column, places.get(run.run, 0))
        if direction is None:
            start = measure.text.rstrip(" )")
            raise InputError(
                Problem(
                    f"whether higher or lower values of {measure.column} are better was not "
                    f"declared; write {start}, higher) or {start}, lower)",
                    given=measure.text,
                    expected="a direction in the measure, or a declaration by the task "
                    "(measure_directions) or the reducer (direction=)",
                )
            )
        found[run.run] = replace(measure, direction=direction)
    return found
