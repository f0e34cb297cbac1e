"""The loss of guessing: a run that is still there did not learn."""

from ablab.experiments.measures import VALUES, Measure
from ablab.store.store import ExperimentRecord

_LOSSES = ("train_loss", "eval_loss")


def guessing_loss(record: ExperimentRecord, measure: Measure) -> float | None:
    """The loss of guessing that an experiment's tasks declare, in nats.

    It is the largest of a task's levels. None if the measure is not a value of the whole loss, or
    if the tasks of the experiment do not agree.
    """
    if measure.function not in VALUES or measure.column not in _LOSSES:
        return None
    known = record.registration
    tasks = [] if known is None else [task.levels for task in known.tasks]
    largest = {max(levels.values(), default=None) for levels in tasks or [record.levels]}
    return largest.pop() if len(largest) == 1 else None
