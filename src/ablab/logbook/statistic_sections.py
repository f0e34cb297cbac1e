"""Selects the statistics, captures and incidents that an entry shows."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from ablab.logbook.figure import find_figure
from ablab.logbook.layers import LayerGroup, layer_groups, spaced
from ablab.read.incidents import moved_first
from ablab.store.artifacts import list_artifacts, read_artifact, read_incident
from ablab.store.index import StoreError
from ablab.store.metrics import experiment_metrics
from ablab.store.store import ExperimentRecord, RunRecord, Store
from ablab.watching.names import is_statistic

# The most informative statistics come first.
_PREFERRED = (
    "activation/blocks.*.attn.pattern/mean_entropy",
    "activation/blocks.*.resid_post/rms",
    "activation/logits/mean_margin",
    "activation_grad/logits/zero_sum_error",
    "grad/blocks.*.attention.query.weight/rms",
    "grad/blocks.*.mlp.linear.weight/rms",
    "param/model/update_ratio",
    "grad/model/noise_scale",
    "activation_grad/blocks.*.resid_post/rms",
)
_GROUPS, _CAPTURES, _INCIDENTS, _COLUMNS = 8, 6, 20, 12  # maximum numbers shown
_CAPTURED_STEPS = 24
_DAMAGED = "damaged (ablab check says what to do)"
_EMPTY = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>'


def shown_groups(names: Sequence[str]) -> list[LayerGroup]:
    """The statistics that an entry draws, grouped by layer, from the available columns."""
    groups = layer_groups([name for name in names if is_statistic(name)])
    first = [
        group for preferred in _PREFERRED for group in groups if fnmatchcase(group.name, preferred)
    ]
    rest = [group for group in groups if group not in first]
    few = first if len(first) >= _GROUPS or len(rest) > 3 * _GROUPS else [*first, *rest]
    return (few or groups)[:_GROUPS]


def shown_columns(names: list[str]) -> list[str]:
    """The statistics available in an entry's interactive figure."""
    return [column for group in shown_groups(names) for column in group.columns.values()][:_COLUMNS]


def watched_figures(
    store: Store, record: ExperimentRecord, runs: list[RunRecord]
) -> dict[str, str]:
    """Figures of the first variant's statistics and of one run's captures, by title."""
    figures: dict[str, str] = {}
    if not runs:
        return figures
    metrics = experiment_metrics(store, record, shown_columns)
    names = [name for name in metrics.columns if is_statistic(name)]
    first = [run.run for run in runs if run.variant == runs[0].variant]
    mine = metrics.filter(metrics["run"].is_in(first))
    curves, heat = find_figure("curves"), find_figure("heat")
    for group in layer_groups(names):
        if (
            mine.select(list(group.columns.values())).null_count().min_horizontal()[0]
            == mine.height
        ):
            continue
        figures[group.name] = curves.svg(mine, group)
        if len(group.columns) > 1:
            figures[f"{group.name}, as a heat map"] = heat.svg(mine, group)
    return figures | _captured_figures(store, runs)


def _captured_figures(store: Store, runs: list[RunRecord]) -> dict[str, str]:
    run = next((each.run for each in runs if list_artifacts(store, "capture", each.run)), None)
    figures: dict[str, str] = {}
    if run is None:
        return figures
    tensors: dict[str, dict[int, Any]] = {}
    steps = [each.step for each in list_artifacts(store, "capture", run)]
    for step in spaced(steps, _CAPTURED_STEPS):
        try:
            captured = read_artifact(store, "capture", run, step)
        except StoreError:  # a damaged file must not prevent the entry, which says so
            figures[f"capture of run {run} after step {step}: {_DAMAGED}"] = _EMPTY
            continue
        for name, tensor in captured.items():
            if name in tensors or len(tensors) < _CAPTURES:
                tensors.setdefault(name, {})[step] = tensor.float().numpy()
    for name, found in tensors.items():
        is_pattern = name.endswith(".pattern") and next(iter(found.values())).ndim == 4
        kind = find_figure("patterns" if is_pattern else "histogram")
        figures[f"{name} of run {run}"] = kind.svg(found, name)
    return figures


def incidents(store: Store, runs: list[RunRecord]) -> list[dict[str, Any]]:
    """What the flight recorder kept, with the statistics that moved first."""
    recorded = [(run, each) for run in runs for each in list_artifacts(store, "flight", run.run)]
    found = []
    for run, incident in recorded[:_INCIDENTS]:
        about, damaged = dict(incident.about), False
        try:
            moved = moved_first(read_incident(store, run.run, incident.step), incident.step)
        except StoreError:  # a damaged file must not prevent the entry, which says so
            moved, damaged = [], True
            about["reason"] = f"{about.get('reason', 'incident')}; its record is {_DAMAGED}"
        found.append(
            {
                "run": run.run,
                "seed": run.seed,
                "step": incident.step,
                **about,
                "damaged": damaged,
                "moved": [vars(each) for each in moved[:5]],
            }
        )
    return found


def file_name(title: str) -> str:
    """A file name made from a figure's title."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", title.replace("*", "N")).strip("-")
