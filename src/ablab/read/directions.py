"""Which values of a column are better: as declared at registration, never guessed from a name."""

from collections.abc import Sequence
from dataclasses import replace

from ablab.config import InputError, Problem
from ablab.experiments.measures import DIRECTED, Measure
from ablab.experiments.registration import derived_directions
from ablab.store.store import ExperimentRecord, RunRecord, Store
from ablab.tasks.config import Direction


def column_direction(record: ExperimentRecord, column: str, variant: int = 0) -> Direction | None:
    """Which values of a column are better; None if it was not declared.

    Args:
        record: The experiment.
        column: The column of the metrics.
        variant: The place of a variant in the grid's order, since tasks can differ.
    """
    known = record.registration
    found = None if known is None else known.direction_of(column, variant)
    task = None if known is None else known.task(variant)
    if found is None and (task is None or not task.directions):  # from an earlier release
        return derived_directions(record.definition).direction_of(column)
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
    seeds = max(1, len(record.definition["seeds"]))
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
