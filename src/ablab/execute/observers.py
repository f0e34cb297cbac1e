"""Watching as it is carried out: what is taken, what is kept, and what it will cost."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from torch import Tensor

from ablab.config import InputError, Problem
from ablab.execute.options import Compiling
from ablab.store.artifacts import check_space, save_artifact
from ablab.store.store import Store
from ablab.train.collector import StatisticsCollector
from ablab.train.log_steps import logs
from ablab.train.loop import Observer
from ablab.train.run import Run
from ablab.train.stack import Stack, initial_model
from ablab.watching.captures import Capturer, capture_bytes, capture_names
from ablab.watching.config import WatchConfig
from ablab.watching.recorder import Incident, Recorder
from ablab.watching.sites import find_sites
from ablab.watching.step_statistics import StepStatistics
from ablab.watching.watchable import watchable

# Statistics times steps, from which on passes over tensors are worth compiling in an eager stack.
_WORTH_COMPILING = 1_000_000


def make_collector(
    stack: Stack, watch: WatchConfig, compiling: Compiling
) -> StatisticsCollector | None:
    """What takes a stack's statistics; None where none are asked for."""
    every, last = watch.every, stack.config.steps
    if not watch.statistics:
        return None
    collector = StepStatistics(
        stack, watch.statistics, lambda step: logs(step, every) or step == last
    )
    left = sum(logs(step, every) for step in range(stack.step + 1, last + 1))
    worth = compiling == "auto" and len(collector.names) * left > _WORTH_COMPILING
    if compiling == "on" or worth:
        collector.compile()
    return collector


def make_observers(
    stack: Stack, watch: WatchConfig, store: Store, tell: Callable[[dict[str, Any]], None]
) -> list[Observer]:
    """What captures a stack's tensors and records its incidents."""
    observers: list[Observer] = []
    first = stack.runs[0]
    if watch.captures:

        def keep_capture(run: str, step: int, tensors: dict[str, Tensor]) -> None:
            save_artifact(store, "capture", run, step, tensors, {})

        sites = find_sites(stack.objective.model, stack.device)
        observers.append(
            Capturer(watch.captures, lambda: initial_model(first), sites, keep_capture)
        )
    if watch.recorder is not None:

        def fail(reason: str) -> None:
            tell({"event": "message", "text": reason})

        observers.append(
            Recorder(
                watch.recorder,
                lambda incident: save_incident(store, incident),
                fail,
                lambda side: make_collector(side, watch, "off"),
            )
        )
    return observers


def save_incident(store: Store, incident: Incident) -> None:
    """Keeps a flight record."""
    table = pl.DataFrame({"step": incident.steps, "train_loss": incident.losses})
    values = pl.from_numpy(incident.values, schema=list(incident.names)) if incident.names else None
    if values is not None:
        table = pl.concat([table, values.with_columns(pl.all().fill_nan(None))], how="horizontal")
    save_artifact(
        store, "flight", incident.run, incident.step, incident.parameters, incident.about, table
    )


def runs_with_fewer_statistics(store: Store, runs: Sequence[Run]) -> list[str]:
    """The runs of which a stored piece was trained without statistics that are asked for now."""
    segments = {
        row["id"]: json.loads(row["segments"])
        for row in store.index.rows("SELECT id, segments FROM runs")
    }
    found = []
    for run in runs:
        watch = run.watch
        assert isinstance(watch, WatchConfig), "an experiment's runs know what is watched"
        for segment in segments.get(run.id, []):
            before = segment.get("watch", {}).get("statistics", [])
            if "*" not in before and not set(watch.statistics) <= set(before):
                found.append(run.id)
                break
    return found


def captured_bytes(run: Run) -> int:
    """What a run's captures take, from its first step to its last.

    Raises:
        InputError: A pattern of captures means no tensor.
    """
    watch = run.watch
    assert isinstance(watch, WatchConfig), "an experiment's runs know what is watched"
    if not watch.captures:
        return 0
    try:
        there = watchable(run)
    except InputError:
        raise
    except (Exception, SystemExit):  # training it keeps the whole error with the run
        return 0
    total = 0
    for config in watch.captures:
        names = capture_names(config.what, there.sites, there.layout, there.watched_state)
        each = capture_bytes(names, there.sites, there.layout, config.samples, there.item)
        total += each * config.count(run.train.steps)
    return total


def check_captures(runs: Sequence[Run], path: str | Path) -> int:
    """The bytes that the captures of some runs take, all together.

    Args:
        runs: The runs that have steps left.
        path: The store, which may not be there yet.

    Raises:
        InputError: That is more than the limit, or than the disk has room for.
    """
    total, known = 0, {}
    for run in runs:
        if run.stack_key not in known:
            known[run.stack_key] = captured_bytes(run)
        total += known[run.stack_key]
    limits = [run.watch.capture_limit for run in runs if isinstance(run.watch, WatchConfig)]
    limit = min(limits, default=math.inf) * 1e9
    if total > limit:
        raise InputError(
            Problem(
                "the captures take more than the limit",
                "watch.capture_limit",
                given=f"{total / 1e9:,.2f} GB for {len(runs)} runs, limit {limit / 1e9:g} GB",
                expected="fewer steps, samples or tensors, or a higher watch.capture_limit",
            )
        )
    if total:
        check_space(Path(path), total, "captures")
    return total
