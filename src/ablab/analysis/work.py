"""Shares the work of analyses among processes, and keeps what they find in the store.

A process takes the runs of a unit as training does, so that two never analyze the same model, and
saves findings as soon as it has them. A process that ends early leaves its units to the others.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ablab.analysis.examine import Failure, examine_unit
from ablab.analysis.request import Request
from ablab.analysis.units import Unit
from ablab.store.findings import StoredFinding, save_findings, stored_keys
from ablab.store.leases import Owner
from ablab.store.store import Store
from ablab.store.stored_run import StoredRun

_SAVE_SECONDS = 1.0  # between two savings, so that a killed process loses little
_WAIT_SECONDS = 0.5


@dataclass
class Progress:
    """How far the work of one process is.

    Attributes:
        found: Findings that it has computed.
        failures: What failed.
    """

    found: int = 0
    failures: list[Failure] = field(default_factory=list)


def missing(
    store: Store,
    runs: Sequence[StoredRun],
    steps: Sequence[Sequence[int]],
    requests: Sequence[Request],
) -> dict[tuple[str, int], list[str]]:
    """The names of the findings that the store lacks, by run's id and step."""
    known = stored_keys(store, [run.id for run in runs])
    found: dict[tuple[str, int], list[str]] = {}
    for run, own in zip(runs, steps, strict=True):
        keys = {each.name: each.key_of(run) for each in requests}
        for step in own:
            lacking = [name for name, key in keys.items() if known.get((run.id, step, name)) != key]
            if lacking:
                found[run.id, step] = lacking
    return found


def work_off(
    store: Store,
    units: Sequence[Unit],
    requests: Sequence[Request],
    report: Callable[[Progress], None],
    should_pause: Callable[[], bool] = lambda: False,
    *,
    wait: bool,
    progress: Progress | None = None,
) -> Progress:
    """Computes the findings of units that no other process is computing.

    Args:
        store: The store.
        units: The units, in the order in which they are tried.
        requests: The analyses.
        report: Called after each finding.
        should_pause: Whether to stop soon.
        wait: Whether to wait for units that other processes are working on, and to take them if
            those end early; otherwise they are left out.
        progress: The progress of an earlier call that is continued.

    Raises:
        StoreError: The store cannot be written, or a snapshot is missing or damaged.
    """
    progress = Progress() if progress is None else progress
    left = list(units)
    with Owner(store.index.path) as owner:
        while left and not should_pause():
            later = []
            for unit in left:
                if should_pause():
                    break
                if not _work_on(store, owner, unit, requests, progress, report, should_pause):
                    later.append(unit)
            left = [unit for unit in later if _lacks(store, unit, requests, progress)]
            if not wait:
                break
            if left:
                time.sleep(_WAIT_SECONDS)
    return progress


def _lacks(
    store: Store, unit: Unit, requests: Sequence[Request], progress: Progress
) -> dict[tuple[str, int], list[str]]:
    failed = {(each.run, each.step, each.name) for each in progress.failures}
    lacking = missing(store, unit.runs, unit.steps, requests)
    own = {
        (run, step): [name for name in names if (run, step, name) not in failed]
        for (run, step), names in lacking.items()
    }
    return {place: names for place, names in own.items() if names}


def _work_on(
    store: Store,
    owner: Owner,
    unit: Unit,
    requests: Sequence[Request],
    progress: Progress,
    report: Callable[[Progress], None],
    should_pause: Callable[[], bool],
) -> bool:
    """Works on one unit; returns whether it could be taken."""
    ids = [run.id for run in unit.runs]
    taken = owner.acquire(store.index, ids)
    if len(taken) < len(ids):
        owner.release(store.index, taken)
        return False
    try:
        lacking = _lacks(store, unit, requests, progress)
        if not lacking:
            return True
        waiting: list[StoredFinding] = []
        saved = time.monotonic()
        try:
            for each in examine_unit(
                unit, requests, lambda run, step, r: r.name in lacking.get((run, step), ())
            ):
                if isinstance(each, Failure):
                    progress.failures.append(each)
                else:
                    waiting.append(each)
                    progress.found += 1
                report(progress)
                if time.monotonic() - saved > _SAVE_SECONDS or should_pause():
                    save_findings(store, waiting)
                    waiting, saved = [], time.monotonic()
                if should_pause():
                    break
        finally:
            save_findings(store, waiting)
    finally:
        owner.release(store.index, ids)
    return True
