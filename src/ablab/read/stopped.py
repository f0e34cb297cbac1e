"""Runs that a stop rule ended or halving paused, and what that decides of their values."""

from collections.abc import Mapping, Sequence
from typing import Any

from ablab.config.wording import counted
from ablab.experiments.halving import halving_of
from ablab.experiments.measures import Measure
from ablab.read.curves.numbers import number
from ablab.read.measure_words import column_words
from ablab.store.store import ExperimentRecord, RunRecord

_RULE = "train.stop"
_AT_END = ("final", "best", "floor")  # measures that depend on where a run ends


def stop_words(definition: Mapping[str, Any]) -> str:
    """When an experiment's stop rule ends a run, in words; empty without one rule for all runs."""
    rule = (definition.get("train") or {}).get("stop")
    if not isinstance(rule, Mapping) or _varies(definition.get("grid") or {}):
        return ""
    told = []
    if rule.get("below") is not None:
        told.append(f"was below {number(rule['below'])}")
    if rule.get("patience") is not None:
        told.append(f"had not improved for {counted(rule['patience'], 'value')}")
    words = column_words(rule.get("measure", "train_loss"))
    return f"the {words} {' or '.join(told)}" if told else ""


def _varies(grid: Mapping[str, Any]) -> bool:
    """Whether an axis of a grid, or one of its bundles, sets the stop rule."""
    bundles = [axis for axis in grid.values() if isinstance(axis, Mapping)]
    settings = [each for axis in bundles for each in axis.values() if isinstance(each, Mapping)]
    nested = [each.get("train") for each in settings]
    return (
        any(key.startswith(_RULE) for key in grid)
        or any(str(key).startswith(_RULE) for each in settings for key in each)
        or any(isinstance(each, Mapping) and "stop" in each for each in nested)
    )


def stop_caveat(
    record: ExperimentRecord, runs: Sequence[RunRecord], measure: Measure | None = None
) -> str:
    """That a stop rule decides a measure of some runs; empty if it does not, or ended none.

    Args:
        record: The experiment.
        runs: Its runs.
        measure: The measure; by default, all final values.
    """
    if measure is not None and not _depends(measure):
        return ""
    paused = paused_caveat(record, runs)
    pauses = {id(run) for run in paused_at_rungs(record, runs)}
    runs = [run for run in runs if id(run) not in pauses]
    stopped = sum(run.status == "stopped" for run in runs)
    if not stopped:
        return paused
    when = stop_words(record.definition)
    rule = f"when {when}" if when else "by a rule"
    was, their = ("was", "its") if stopped == 1 else ("were", "their")
    which = f"{stopped:,} of {counted(len(runs), 'run')}"
    if stopped == len(runs):
        which = "The run" if stopped == 1 else f"All {stopped:,} runs"
    ends = "values end" if measure is None else f"{column_words(measure.column)} ends"
    told = f"{which} {was} stopped {rule}, which decides where {their} {ends}."
    return f"{told} {paused}".rstrip()


def paused_caveat(record: ExperimentRecord, runs: Sequence[RunRecord]) -> str:
    """That halving paused some runs, whose values are those of an earlier step; may be empty."""
    paused = paused_at_rungs(record, runs)
    if not paused:
        return ""
    steps = ", ".join(f"{step:,}" for step in sorted({run.step for run in paused}))
    was, their = ("was", "its") if len(paused) == 1 else ("were", "their")
    return (
        f"{len(paused):,} of {counted(len(runs), 'run')} {was} paused by halving at step {steps}: "
        f"{their} values are of that step and cannot be compared with later ones."
    )


def paused_at_rungs(record: ExperimentRecord, runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs of an experiment with halving that were stopped at the step of a rung.

    A run that a stop rule ended at this very step is taken for a paused one.
    """
    halving = halving_of(record.definition)
    if halving is None:
        return []
    return [run for run in runs if run.status == "stopped" and run.step in halving.steps(run.steps)]


def _depends(measure: Measure) -> bool:
    """Whether a measure depends on where a run ends."""
    return measure.function in _AT_END and measure.column.startswith(("train_", "eval_"))
