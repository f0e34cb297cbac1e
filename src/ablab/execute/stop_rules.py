"""Applies stop rules to the stored steps of runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ablab.store.metrics import read_runs, unwatched_columns
from ablab.store.run_list import progress_of
from ablab.store.run_rows import mark_stopped
from ablab.store.store import Store
from ablab.train.log_steps import last_logged
from ablab.train.loop import rule_after_stored_steps
from ablab.train.run import Run
from ablab.train.run_state import RunState
from ablab.train.stopping import StopRule


@dataclass(frozen=True)
class StopHistory:
    """What stop rules need to know about the stored steps of some runs.

    Attributes:
        recent: Losses since the last logged step, by run.
        stopped: The step at which a rule ended the run, by run.
    """

    recent: dict[str, list[float]]
    stopped: dict[str, int]

    def losses(self, runs: Sequence[Run]) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """The losses since the last logged step, (K, R); None if there are none."""
        found = [self.recent.get(run.id, []) for run in runs]
        return np.array(found).T if found and all(found) else None


def stop_rules(
    store: Store, experiment: int, group: Sequence[tuple[Run, RunState | None]]
) -> tuple[dict[str, StopRule], StopHistory]:
    """Stop rules after they have processed the stored steps; marks the runs that they end.

    Args:
        store: The store.
        experiment: The experiment's number in the store.
        group: The runs, each with the state it continues from.

    Returns:
        The rules by run, and what they have seen.
    """
    rules: dict[str, StopRule] = {}
    history = StopHistory({}, {})
    with_rules = [run for run, _ in group if run.train.stop is not None]
    if not with_rules:
        return rules, history
    frame = read_runs(store, [run.id for run in with_rules], unwatched_columns)
    for run, state in group:
        step = 0 if state is None else state.step
        losses = _values(frame, run.id, "train_loss", step)
        rule, stopped = rule_after_stored_steps(
            run, losses, _values(frame, run.id, "eval_loss", step)
        )
        if rule is not None:
            rules[run.id] = rule
        if stopped is not None:
            history.stopped[run.id] = stopped
        first = last_logged(step, run.log_every) + 1
        history.recent[run.id] = [losses[s] for s in range(first, step + 1)]
    mark_stopped(store, experiment, history.stopped)
    return rules, history


def _values(frame: pl.DataFrame, run: str, column: str, last: int) -> dict[int, float]:
    if column not in frame.columns:
        return {}
    rows = frame.filter((pl.col("run") == run) & (pl.col("step") <= last)).select("step", column)
    return dict(rows.drop_nulls().iter_rows())


def apply_stop_rules(store: Store, experiment: int, runs: Sequence[Run]) -> None:
    """Applies an experiment's stop rules to steps that other experiments have trained."""
    with_rules = [run for run in runs if run.train.stop is not None]
    if not with_rules:
        return
    steps = progress_of(store.index, [run.id for run in with_rules])
    frame = read_runs(store, list(steps), unwatched_columns)
    stopped = {}
    for run in with_rules:
        # Those of a run that a repair has set back are trained again.
        last = min(run.train.steps, steps.get(run.id, 0))
        losses = _values(frame, run.id, "train_loss", last)
        evaluations = _values(frame, run.id, "eval_loss", last)
        step = rule_after_stored_steps(run, losses, evaluations)[1]
        if step is not None:
            stopped[run.id] = step
    mark_stopped(store, experiment, stopped)
