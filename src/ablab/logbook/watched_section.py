"""The watched statistics and captures of an entry: a set of figures for each variant."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from ablab.config.wording import counted
from ablab.experiments.short_names import short_names
from ablab.logbook.figure import drawing
from ablab.logbook.figures.patterns import MOST_HEADS
from ablab.logbook.layers import POINTS, LayerGroup, layer_groups, spaced
from ablab.logbook.statistic_sections import DAMAGED, shown_columns
from ablab.store.artifacts import list_artifacts, read_artifact
from ablab.store.index import StoreError
from ablab.store.metrics import experiment_metrics
from ablab.store.store import ExperimentRecord, RunRecord, Store
from ablab.watching.names import is_statistic

MOST_VARIANTS = 12
"""With more variants than this, only the first have figures."""
_FIGURES = 48  # of statistics on a page; bounds its size and the time to draw it
_CAPTURES = 12  # figures of captures on a page
_OF_VARIANT = 6  # figures of captures of one variant
_FEWEST = 2  # statistics of each variant, however many variants there are
_CAPTURED_STEPS = 24
_BLOCK = re.compile(r"\bblocks\.(\d+)\.")


@dataclass(frozen=True)
class WatchedFigure:
    """A figure of what was watched: its title, what it averages over, its file and its SVG."""

    title: str
    caption: str
    file: str
    drawing: str


@dataclass(frozen=True)
class WatchedVariant:
    """The figures of one variant."""

    name: str
    figures: list[WatchedFigure]


def watched_variants(
    store: Store, record: ExperimentRecord, runs: Sequence[RunRecord]
) -> list[WatchedVariant]:
    """The figures of what was watched, by variant; variants without any are left out.

    Statistics that were never logged are left out. With many variants, each has fewer figures,
    which bounds the size of the page.
    """
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(str(run.variant), []).append(run)
    names = short_names([group[0].variant for group in groups.values()])
    members = list(groups.values())[:MOST_VARIANTS]
    if not members:
        return []
    metrics = experiment_metrics(store, record, shown_columns)
    logged = {
        place: _logged(metrics.filter(pl.col("run").is_in([run.run for run in group])))
        for place, group in enumerate(members)
    }
    drawn = max(1, sum(1 for found, _ in logged.values() if found))
    each = max(_FEWEST, _FIGURES // drawn)
    captures = min(_OF_VARIANT, max(1, _CAPTURES // drawn))
    result = []
    for place, group in enumerate(members):
        statistics, frame = logged[place]
        figures = _statistic_figures(statistics, frame, each)
        figures += _captured_figures(store, group, captures)
        if place:  # the first variant's files have the plain names
            figures = [replace(found, file=f"{found.file}-{place + 1}") for found in figures]
        if figures:
            result.append(WatchedVariant(names[place], figures))
    return result


def _logged(frame: pl.DataFrame) -> tuple[list[LayerGroup], pl.DataFrame]:
    """The statistics of a variant that were logged at least once, and its rows."""
    names = [
        name
        for name in frame.columns
        if is_statistic(name) and frame[name].drop_nulls().is_finite().any()
    ]
    return layer_groups(names), frame


def _statistic_figures(
    groups: Sequence[LayerGroup], frame: pl.DataFrame, most: int
) -> list[WatchedFigure]:
    layered = sum(len(group.columns) > 1 for group in groups)
    with_heat = len(groups) + layered <= most
    found = []
    for group in groups[:most]:
        columns = list(group.columns.values())
        rows = frame.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in columns))
        seeds = rows["seed"].unique().sort().to_list()
        told = (
            f"seed {seeds[0]}" if len(seeds) == 1
            else f"mean over {len(seeds)} seeds at each step"
        )  # fmt: skip
        if rows["step"].n_unique() > POINTS:
            told += " and over neighbouring steps"
        found.append(
            _figure(group.name, told, drawing("curves", frame.select("step", *columns), group))
        )
        if len(columns) > 1 and with_heat:
            title = f"{group.name}, as a heat map"
            found.append(
                _figure(title, told, drawing("heat", frame.select("step", *columns), group))
            )
    return found


def _captured_figures(store: Store, runs: Sequence[RunRecord], most: int) -> list[WatchedFigure]:
    """Figures of the captures of the first run of a variant that has some."""
    run = next((each for each in runs if list_artifacts(store, "capture", each.run)), None)
    if run is None:
        return []
    figures = []
    tensors: dict[str, dict[int, Any]] = {}
    steps = [each.step for each in list_artifacts(store, "capture", run.run)]
    for step in spaced(steps, _CAPTURED_STEPS):
        try:
            captured = read_artifact(store, "capture", run.run, step)
        except StoreError:  # a damaged file must not prevent the entry, which says so
            title = f"capture of run {run.run} after step {step}: {DAMAGED}"
            figures.append(_figure(title, "", ""))
            continue
        for name, tensor in captured.items():
            if name in tensors or len(tensors) < most:
                tensors.setdefault(name, {})[step] = tensor.float().numpy()
    for name, found in tensors.items():
        is_pattern = name.endswith(".pattern") and next(iter(found.values())).ndim == 4
        drawn = drawing("patterns" if is_pattern else "histogram", found, name)
        about = capture_words(name, next(iter(found.values())).shape, is_pattern)
        whose = f"{about}; run {run.run}, seed {run.seed}"
        figures.append(_figure(f"{name} of run {run.run}", whose, drawn))
    return figures


def capture_words(name: str, shape: Sequence[int], is_pattern: bool) -> str:
    """What a figure of a captured tensor shows, and what it averages over.

    Args:
        name: The tensor's name.
        shape: Its shape; of an attention pattern, (B, H, T, S).
        is_pattern: Whether it is drawn as an attention pattern.
    """
    if not is_pattern:
        entries = 1
        for size in shape:
            entries *= int(size)
        return f"each column is the histogram of all {counted(entries, 'entry', 'entries')}"
    block = _BLOCK.search(name)
    of_block = f" of block {block[1]}" if block else ""
    heads = counted(int(shape[1]), "head")
    shown = heads if shape[1] <= MOST_HEADS else f"the first {MOST_HEADS} of {heads}"
    return f"mean over {counted(int(shape[0]), 'sample')}, for {shown}{of_block}"


def _figure(title: str, caption: str, drawing: str) -> WatchedFigure:
    return WatchedFigure(title, caption, file_name(title), drawing)


def file_name(title: str) -> str:
    """A file name made from a figure's title."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", title.replace("*", "N")).strip("-")
