"""The findings that a store has of some runs, for pages: read without the code of analyses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from ablab.analysis.figures import AnalysisFigure, figure_from_data
from ablab.analysis.finding import (
    DOES_NOT_APPLY,
    Finding,
    Findings,
    ModelFinding,
    joined,
)
from ablab.config import Config
from ablab.store.findings import (
    LAST_STEP,
    StoredFinding,
    list_findings,
    read_finding,
    recorded_analyses,
)
from ablab.store.store import RunRecord, Store


class StoredSettings(Config):
    """The settings of an analysis as they were stored."""

    values: dict[str, Any] = Field(default_factory=dict)
    """The values by name."""


@dataclass(frozen=True)
class ShownFindings:
    """What a page shows of an analysis.

    Attributes:
        name: The analysis, with settings that are not the defaults.
        found: The scalars of all steps, and the tables and arrays of each run's last one.
        headline: Names or patterns of the scalars that are shown first.
        figures: What its figures show.
        reason: Why it does not apply; None if it does.
    """

    name: str
    found: Findings
    headline: tuple[str, ...]
    figures: tuple[AnalysisFigure, ...]
    reason: str | None


def shown_findings(store: Store, runs: Sequence[RunRecord]) -> list[ShownFindings]:
    """The findings of an experiment's runs, by analysis; imports no analysis.

    Args:
        store: The store.
        runs: The runs of the experiment, with its own last steps.

    Raises:
        StoreError: A finding's file is missing or damaged.
    """
    records = {each.run: each for each in runs}
    by_name: dict[str, list[StoredFinding]] = {}
    for each in list_findings(store, records):
        last = records[each.run].step
        if each.step <= last and each.about.get(LAST_STEP, 0) <= last:
            by_name.setdefault(each.name, []).append(each)
    recorded = recorded_analyses(store) if by_name else {}
    return [
        _shown(store, name, recorded.get(name, {}), found, records)
        for name, found in by_name.items()
    ]


def _shown(
    store: Store,
    name: str,
    about: Mapping[str, Any],
    found: Sequence[StoredFinding],
    records: Mapping[str, RunRecord],
) -> ShownFindings:
    figures = [figure_from_data(each) for each in about.get("figures", ())]
    last = {each.run: each.step for each in found}  # steps are in increasing order
    order = {run: place for place, run in enumerate(records)}
    models = []
    for each in sorted(found, key=lambda own: (order[own.run], own.step)):
        record = records[each.run]
        keys = {"seed": record.seed, **record.variant}
        whole = each
        if figures and last[each.run] == each.step:
            whole = read_finding(store, each.run, each.step, name)
        own = None
        if DOES_NOT_APPLY not in each.about:
            own = Finding(whole.scalars, whole.tables, whole.arrays)
        models.append(ModelFinding(own, each.run, each.step, keys))
    reasons = [str(each.about[DOES_NOT_APPLY]) for each in found if DOES_NOT_APPLY in each.about]
    settings = StoredSettings(values=dict(about.get("settings", {})))
    return ShownFindings(
        name,
        joined(str(about.get("analysis", name)), str(about.get("question", "")), settings, models),
        tuple(map(str, about.get("headline", ()))),
        tuple(each for each in figures if each is not None),
        reasons[0] if len(reasons) == len(found) else None,
    )
