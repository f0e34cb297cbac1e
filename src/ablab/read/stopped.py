"""Runs that a stop rule ended, and what the rule decides of their values."""

from collections.abc import Mapping, Sequence
from typing import Any

from ablab.config.wording import counted
from ablab.experiments.measures import Measure
from ablab.read.curves.numbers import number
from ablab.read.measure_words import column_words
from ablab.store.store import ExperimentRecord, RunRecord

_AT_END = ("final", "best", "floor")  # measures that depend on where a run ends


def stop_words(definition: Mapping[str, Any]) -> str:
    """When an experiment's stop rule ends a run, in words; empty without a rule."""
    rule = (definition.get("train") or {}).get("stop")
    if not isinstance(rule, Mapping):
        return ""
    words, told = column_words(rule.get("measure", "train_loss")), []
    if rule.get("below") is not None:
        told.append(f"the {words} was below {number(rule['below'])}")
    if rule.get("patience") is not None:
        told.append(f"the {words} had not improved for {counted(rule['patience'], 'value')}")
    return " or ".join(told)


def stop_caveat(
    record: ExperimentRecord, runs: Sequence[RunRecord], measure: Measure | None = None
) -> str:
    """That a stop rule decides a measure of some runs; empty if it does not, or ended none.

    Args:
        record: The experiment.
        runs: Its runs.
        measure: The measure; by default, all final values.
    """
    stopped = sum(run.status == "stopped" for run in runs)
    if not stopped or (measure is not None and not _depends(measure)):
        return ""
    when = stop_words(record.definition)
    rule = f"when {when}" if when else "by a rule"
    was, their = ("was", "its") if stopped == 1 else ("were", "their")
    ends = "values end" if measure is None else f"{column_words(measure.column)} ends"
    return (
        f"{stopped:,} of {counted(len(runs), 'run')} {was} stopped {rule}, which decides where "
        f"{their} {ends}."
    )


def _depends(measure: Measure) -> bool:
    """Whether a measure depends on where a run ends."""
    return measure.function in _AT_END and measure.column.startswith(("train_", "eval_"))
