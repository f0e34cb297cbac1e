"""Attaches what an experiment watches to a stack, and estimates the size of captures."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from torch import Tensor

from ablab.config import InputError, Problem, counted
from ablab.store.artifacts import check_space, save_artifact
from ablab.store.run_rows import segments_of_runs
from ablab.store.samples import queried_sample, save_samples
from ablab.store.store import Store
from ablab.train.callbacks import callback_observers
from ablab.train.collector import StatisticsCollector
from ablab.train.log_steps import logs
from ablab.train.loop import Observer
from ablab.train.run import Run, by_stack_key
from ablab.train.stack import Stack, initial_model, make_task
from ablab.watching.captures import Capturer, capture_bytes, capture_names, every_tensor
from ablab.watching.config import WatchConfig
from ablab.watching.queries import QueryObserver, query_tokens
from ablab.watching.recorder import Incident, Recorder
from ablab.watching.sites import find_sites
from ablab.watching.step_statistics import StepStatistics
from ablab.watching.watchable import watchable


def make_collector(stack: Stack, watch: WatchConfig) -> StatisticsCollector | None:
    """Collects a stack's statistics; None if no statistics are requested."""
    every, last = watch.every, stack.config.steps
    if not watch.statistics:
        return None
    return StepStatistics(stack, watch.statistics, lambda step: logs(step, every) or step == last)


def make_observers(
    stack: Stack, watch: WatchConfig, store: Store, report: Callable[[dict[str, Any]], None]
) -> list[Observer]:
    """Observers that capture tensors, generate text, record incidents and call users' functions.

    Args:
        stack: The stack.
        watch: What is watched.
        store: Where captures and incidents are saved.
        report: Called with a ``message`` event if recording fails.
    """
    observers: list[Observer] = [*callback_observers(stack)]
    first = stack.runs[0]
    if watch.captures:

        def save_capture(run: str, step: int, tensors: dict[str, Tensor]) -> None:
            save_artifact(store, "capture", run, step, tensors, {})

        sites = find_sites(stack.objective.model, stack.device)
        observers.append(
            Capturer(watch.captures, lambda: initial_model(first), sites, save_capture)
        )
    if watch.generate is not None:

        def save_texts(run: str, step: int, found: list[dict[str, Any]]) -> None:
            save_samples(store, [queried_sample(run, step, found)])

        observers.append(QueryObserver(watch.generate, lambda: initial_model(first), save_texts))
    if watch.recorder is not None:

        def report_failure(reason: str) -> None:
            report({"event": "message", "text": reason})

        observers.append(
            Recorder(
                watch.recorder,
                lambda incident: save_incident(store, incident),
                report_failure,
                lambda side: make_collector(side, watch),
            )
        )
    return observers


def save_incident(store: Store, incident: Incident) -> None:
    """Saves a recorded incident as an artifact."""
    table = pl.DataFrame({"step": incident.steps, "train_loss": incident.losses})
    values = pl.from_numpy(incident.values, schema=list(incident.names)) if incident.names else None
    if values is not None:
        table = pl.concat([table, values.with_columns(pl.all().fill_nan(None))], how="horizontal")
    save_artifact(
        store, "flight", incident.run, incident.step, incident.parameters, incident.about, table
    )


def runs_with_fewer_statistics(store: Store, runs: Sequence[Run]) -> list[str]:
    """The ids of runs with stored steps that were trained without all requested statistics."""
    segments = segments_of_runs(store, [run.id for run in runs])
    found = []
    for run in runs:
        watch = run.watch
        assert isinstance(watch, WatchConfig), "the runs of an experiment have a watch section"
        for segment in segments.get(run.id, []):
            before = segment.get("watch", {}).get("statistics", [])
            if "*" not in before and not set(watch.statistics) <= set(before):
                found.append(run.id)
                break
    return found


def captured_bytes(run: Run) -> int:
    """The size of a run's captures in bytes, from its first step to its last."""
    watch = run.watch
    assert isinstance(watch, WatchConfig), "the runs of an experiment have a watch section"
    if not watch.captures:
        return 0
    try:
        there = watchable(run)
    except InputError:
        raise
    except (Exception, SystemExit):  # training stores the complete error with the run
        return 0
    total = 0
    for config in watch.captures:
        every = every_tensor(there.sites, there.layout, there.watched_state)
        names = capture_names(config.what, every)
        each = capture_bytes(names, there.sites, there.layout, config.samples, there.item)
        total += each * config.count(run.train.steps)
    return total


def check_queries(runs: Sequence[Run]) -> None:
    """Checks that the queries of some runs can be tokenized.

    Raises:
        InputError: A prompt cannot be.
    """
    for group in by_stack_key(runs).values():
        watch = group[0].watch
        if isinstance(watch, WatchConfig) and watch.generate is not None:
            task = make_task(group[0])
            for query in watch.generate.queries:
                query_tokens(task, query)


def check_captures(runs: Sequence[Run], path: str | Path) -> int:
    """The total size of the captures of some runs in bytes.

    Args:
        runs: The runs that have steps left.
        path: The store's folder, which may not exist yet.

    Raises:
        InputError: The captures exceed ``watch.capture_limit`` or the free disk space.
    """
    total = sum(captured_bytes(group[0]) * len(group) for group in by_stack_key(runs).values())
    limits = [run.watch.capture_limit for run in runs if isinstance(run.watch, WatchConfig)]
    limit = min(limits, default=math.inf) * 1e9
    if total > limit:
        raise InputError(
            Problem(
                "the captures exceed the limit",
                "watch.capture_limit",
                given=f"{total / 1e9:,.2f} GB for {counted(len(runs), 'run')}, "
                f"limit {limit / 1e9:g} GB",
                expected="fewer steps, samples or tensors, or a higher watch.capture_limit",
            )
        )
    if total:
        check_space(Path(path), total, "captures")
    return total
