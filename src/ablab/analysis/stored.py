"""The findings that a store has of some runs, for pages: read without the code of analyses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from ablab.analysis.analysis import find_analysis
from ablab.analysis.examine import DOES_NOT_APPLY
from ablab.analysis.figures import AnalysisFigure
from ablab.analysis.finding import Finding, Findings, ModelFinding, joined
from ablab.config import Config, InputError
from ablab.store.findings import StoredFinding, list_findings, read_finding
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
        figures: What its figures show; none of a user's analysis, whose code is not imported.
        reason: Why it does not apply; None if it does.
    """

    name: str
    found: Findings
    headline: tuple[str, ...]
    figures: tuple[AnalysisFigure, ...]
    reason: str | None


def shown_findings(store: Store, runs: Sequence[RunRecord]) -> list[ShownFindings]:
    """The findings of an experiment's runs, by analysis; imports no user's code.

    Args:
        store: The store.
        runs: The runs of the experiment, with its own last steps.

    Raises:
        StoreError: A finding's file is missing or damaged.
    """
    records = {each.run: each for each in runs}
    by_name: dict[str, list[StoredFinding]] = {}
    for each in list_findings(store, records):
        if each.step <= records[each.run].step:
            by_name.setdefault(each.name, []).append(each)
    return [_shown(store, name, found, records) for name, found in by_name.items()]


def _shown(
    store: Store, name: str, found: Sequence[StoredFinding], records: Mapping[str, RunRecord]
) -> ShownFindings:
    about = found[0].about
    analysis = str(about.get("analysis", name))
    headline: tuple[str, ...] = ()
    figures: tuple[AnalysisFigure, ...] = ()
    if ":" not in analysis:
        try:
            known = find_analysis(analysis)
            headline, figures = known.headline, known.figures
        except InputError:  # of another release
            pass
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
    question = str(about.get("question", ""))
    return ShownFindings(
        name,
        joined(analysis, question, settings, models),
        headline,
        figures,
        reasons[0] if len(reasons) == len(found) else None,
    )
