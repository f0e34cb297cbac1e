"""Writes an experiment's entry, and the logbook that lists all entries."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from markdown_it import MarkdownIt

from ablab.config.files import write_text_atomically
from ablab.experiments.grid_text import range_text
from ablab.experiments.inactive import nullable_keys
from ablab.experiments.measures import parse_measure
from ablab.experiments.seeds import seeds_text
from ablab.experiments.short_names import short_names
from ablab.experiments.tree import leaves
from ablab.logbook.conclusions import find
from ablab.logbook.differing_settings import differing_settings
from ablab.logbook.drawn_curves import DRAWN, LOSSES, column_titles, drawn_curves, variant_costs
from ablab.logbook.effect_tables import effect_drawings, effect_table
from ablab.logbook.factor_curves import factor_curves
from ablab.logbook.factor_section import factor_section
from ablab.logbook.findings_section import findings_sections
from ablab.logbook.listing import write_logbook
from ablab.logbook.main_setting import main_setting
from ablab.logbook.marks import column_marks, curve_marks
from ablab.logbook.notes import BEGIN, end_line, entry_notes, notes_are_whole
from ablab.logbook.page import assets, templates
from ablab.logbook.plotdata import plot_data
from ablab.logbook.repeat import repeat
from ablab.logbook.samples import generated, of_variants, shown_samples
from ablab.logbook.scales import planned_ends
from ablab.logbook.shown_variants import MOST
from ablab.logbook.statistic_sections import incidents, shown_columns
from ablab.logbook.variant_curves import both_losses, curves
from ablab.logbook.variant_sections import variant_sections
from ablab.read.bands import Band
from ablab.read.by_factor import by_factor
from ablab.read.directions import column_direction
from ablab.read.step_costs import step_costs
from ablab.read.stopped import stop_caveat, stop_words
from ablab.read.tuning import tuning_report
from ablab.read.tuning_report import NOTE
from ablab.store.digests import write_text_digested, write_texts_digested
from ablab.store.metrics import (
    column_cells,
    experiment_metrics,
    experiment_runs,
    restarts,
    unwatched_columns,
)
from ablab.store.paths import DEFINITION, entry_path
from ablab.store.run_rows import segments_of_runs
from ablab.store.set_aside import copy_aside
from ablab.store.store import ExperimentRecord, RunRecord, Store

_LISTED = 16  # more values of an axis are shown by their range


@dataclass(frozen=True)
class Entry:
    """A written entry: the experiment's name and the entry's folder."""

    name: str
    folder: Path

    @property
    def page(self) -> Path:
        """The self-contained HTML page."""
        return self.folder / "index.html"


def write_entry(store: Store, record: ExperimentRecord) -> Entry:
    """Writes or rewrites the entry of an experiment, and ``LOGBOOK.md``.

    The entry's folder is named after the day on which the experiment was first requested. Its
    notes stay unchanged.

    Raises:
        StoreError: A file cannot be written.
    """
    name = store.entry_folder(record)
    folder = entry_path(store.path, name)
    content = entry_content(store, replace(record, entry=name))
    figures = content["figures"] | content["variant_files"] | content["effect_figures"]
    figures |= content["factor_files"] | content["analyses"].files
    texts = {
        entry_path(store.path, folder.name, "figures", f"{name}.svg"): drawing
        for name, drawing in figures.items()
    }
    known = templates()
    text = known.get_template("entry.md.j2").render(content)
    path = entry_path(store.path, folder.name, "entry.md")
    if not notes_are_whole(path):  # a damaged file may hold the only copy of the user's words
        copy_aside(store, path)
    write_text_atomically(path, text)
    page = known.get_template("index.html.j2").render(content | {"assets": assets()})
    texts[entry_path(store.path, folder.name, "index.html")] = page
    texts[entry_path(store.path, folder.name, DEFINITION)] = content["repeat"].definition
    write_texts_digested(store, texts)
    found = json.dumps(content["findings"].digest())
    write_text_digested(store, entry_path(store.path, folder.name, "findings.json"), found)
    write_logbook(store)
    return Entry(record.name, folder)


def entry_content(store: Store, record: ExperimentRecord) -> dict[str, Any]:
    """The variables of the templates; needs neither the corpus nor a user's modules.

    Reads the store and changes nothing except the readings cached in the index.

    Args:
        store: The store.
        record: The experiment.
    """
    with store.frames.caching():
        return _entry_content(store, record)


def _entry_content(store: Store, record: ExperimentRecord) -> dict[str, Any]:
    """The variables of the templates, while frames of metrics are kept."""
    metrics = experiment_metrics(
        store, record, lambda names: unwatched_columns(names) + shown_columns(names)
    )
    runs = experiment_runs(store, record)
    found = find(store, record, runs)
    grid = record.definition["grid"]
    direction = partial(column_direction, record)
    shown = found.shown.runs
    drawn = drawn_curves(_of(metrics, shown), list(grid), direction, nullable_keys(grid))
    by_factors = by_factor(store, record, shown)
    drawn |= factor_curves(by_factors, shown, direction)
    cells = column_cells(shown)
    marks = {"train_loss": curve_marks(shown, found.readings)}
    marks |= column_marks(store, record, shown, [name for name in DRAWN[1:] if name in drawn])
    costs = step_costs(store, record, shown)
    main, ends = main_setting(record, found.answer.effects), planned_ends(runs)
    titles = column_titles(drawn)
    factors = factor_section(by_factors, shown)
    troubles = [run for run in runs if run.status in ("diverged", "failed")]
    restarted = _restarts(metrics, runs)
    notes, count = _notes(store, record)
    variants = {str(run.variant): run.variant for run in runs}
    names = dict(zip(variants, short_names(list(variants.values())), strict=True))
    return variant_sections(store, record, runs, metrics, found, costs) | {
        "record": record,
        "repeat": repeat(store, record),
        "date": record.created[:10],
        "size": record.definition.get("size"),
        "of_logbook": record.definition.get("logbook"),
        "grid": [(key, choices(values)) for key, values in grid.items()]
        + _cells(record.definition),
        "seeds": seeds_text(record.definition),
        "base": _base(record),
        "full": _full(store, runs),
        "differing": differing_settings(store, runs, grid),
        "statuses": _counted(runs) + _stop_rule(record, runs),
        "troubles": troubles[:MOST],
        "more_troubles": len(troubles) - MOST,
        "restarts": restarted[:MOST],
        "more_restarts": len(restarted) - MOST,
        "seconds": sum(run.seconds for run in runs),
        "segments": _facts(store, runs),
        "findings": found,
        "tuning": tuning_report(store, record),
        "tuning_note": NOTE,
        "effect_tables": [
            effect_table(each, stop_caveat(record, runs, parse_measure(each.measure)))
            for each in found.effects
        ],
        "effect_figures": effect_drawings(found.effects),
        "samples": (samples := shown_samples(store, record, runs)),
        "samples_of": of_variants(len(samples), len(names)),
        "samples_how": generated(samples),
        "figures": {
            column: curves(
                drawn[column], column, record.levels, marks.get(column), cells, main, ends
            )
            for column in DRAWN
            if column in drawn
        }
        | _both_losses(drawn, record, cells, ends),
        "factors": factors,
        "analyses": findings_sections(store, record, shown),
        "factor_files": {name: svg for each in factors for name, svg in each.files.items()},
        "incidents": incidents(store, runs),
        "titles": titles,
        "plot": plot_data(
            drawn, titles, record.levels, marks, cells, variant_costs(shown, costs), main, ends
        ),
        "notes": notes,
        "notes_html": MarkdownIt("commonmark", {"html": False}).render(notes),
        "notes_begin": BEGIN,
        "notes_end": end_line(count),
        "run_ids": [(run.run, names[str(run.variant)], run.seed, run.status) for run in shown],
        "every_run": len(runs),
    }


def _of(metrics: pl.DataFrame, runs: Sequence[RunRecord]) -> pl.DataFrame:
    """The metrics of some runs."""
    return metrics.filter(pl.col("run").is_in([run.run for run in runs]))


def _both_losses(
    drawn: Mapping[str, Sequence[Band]],
    record: ExperimentRecord,
    cells: Sequence[Mapping[str, Any]],
    ends: Mapping[str, int],
) -> dict[str, str]:
    """The figure of both losses, if both were logged and there are few variants."""
    if not drawn.get("train_loss") or not drawn.get("eval_loss"):
        return {}
    drawing = both_losses(drawn["train_loss"], drawn["eval_loss"], record.levels, cells, ends)
    return {} if drawing is None else {LOSSES: drawing}


def _notes(store: Store, record: ExperimentRecord) -> tuple[str, int]:
    """The notes in the entry plus new ones from the store, and the number of stored notes."""
    stored = store.notes(record.id)
    if record.entry is None:
        return entry_notes(None, stored), len(stored)
    return entry_notes(entry_path(store.path, record.entry, "entry.md"), stored), len(stored)


def choices(values: Any) -> list[str]:
    """The values of an axis, in one line; for bundles of settings, one line per bundle."""
    if isinstance(values, list):
        many = len(values) > _LISTED
        return [range_text(values) if many else ", ".join(str(value) for value in values)]
    return [
        f"{label}: " + (", ".join(f"{key}={value}" for key, value in bundle.items()) or "the base")
        for label, bundle in values.items()
    ]


def _cells(definition: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """How many of the combinations of values there are, if not all."""
    if "cells" not in definition:
        return []
    most = math.prod(len(values) for values in definition["grid"].values())
    return [("variants", [f"{len(definition['cells']):,} of {most:,} combinations"])]


def _full(store: Store, runs: list[RunRecord]) -> list[tuple[str, Any]]:
    """The settings that identify the first run, which some that have their defaults do not."""
    if not runs:
        return []
    trajectory = json.loads(store.run_row(runs[0].run)["trajectory"])
    return [(".".join(path), value) for path, value in leaves(trajectory)]


def _restarts(metrics: pl.DataFrame, runs: list[RunRecord]) -> list[tuple[RunRecord, str]]:
    """The runs that were restarted from an earlier state, with the steps."""
    found = restarts(metrics)
    return [
        (run, ", ".join(f"{step} → {back_to}" for step, back_to in found[run.run]))
        for run in runs
        if run.run in found
    ]


def _base(record: ExperimentRecord) -> list[tuple[str, Any]]:
    """The settings given in the definition, as dotted keys."""
    parts = {
        key: value
        for key, value in record.definition.items()
        if key in ("task", "model", "train", "watch")
    }
    return [(".".join(path), value) for path, value in leaves(parts)]


def _counted(runs: list[RunRecord]) -> str:
    statuses = [run.status for run in runs]
    return ", ".join(f"{statuses.count(status):,} {status}" for status in dict.fromkeys(statuses))


def _stop_rule(record: ExperimentRecord, runs: list[RunRecord]) -> str:
    """The rule that stopped runs, in words; empty if none were stopped."""
    when = stop_words(record.definition)
    if not when or not any(run.status == "stopped" for run in runs):
        return ""
    return f"; runs were stopped when {when}"


def _facts(store: Store, runs: list[RunRecord]) -> list[str]:
    """Every distinct combination of engine, width, device and threads that trained the runs."""
    found: dict[str, None] = {}
    for segments in segments_of_runs(store, [run.run for run in runs]).values():
        for segment in segments:
            text = (
                f"engine {segment.get('method', segment['engine'])}, "
                f"width {segment['width']}, {segment['device']}, "
                f"{segment['threads']} thread{'' if segment['threads'] == 1 else 's'}, "
                f"torch {segment['torch']}"
            )
            found[text] = None
    return list(found)
