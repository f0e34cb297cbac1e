"""Writing an experiment's entry, and the logbook that lists them all."""

import json
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt

from ablab.experiments.experiment import Experiment, experiment
from ablab.experiments.tree import leaves
from ablab.logbook.figures import curves, is_wide, styles
from ablab.read.bands import bands
from ablab.read.summary import summarise, table
from ablab.store.files import write_text_atomically
from ablab.store.metrics import experiment_metrics
from ablab.store.store import ExperimentRecord, RunRecord, Store

DRAWN = ("train_loss", "eval_loss", "eval_accuracy")
_SHORT = {"train_loss": "training loss", "eval_loss": "held-out loss"}


@dataclass(frozen=True)
class Entry:
    """An entry as it was written."""

    name: str
    folder: Path

    @property
    def page(self) -> Path:
        """The self-contained HTML page."""
        return self.folder / "index.html"


def write_entry(store: Store, name: str) -> Entry:
    """Writes or rewrites the entry of an experiment and the logbook's list.

    The entry's folder is named by the day on which the experiment was first asked for.

    Raises:
        StoreError: The store has no such experiment.
    """
    record = store.experiment(name)
    folder = store.path / "logbook" / _folder_name(store, record)
    content = _content(store, record)
    for column, drawing in content["figures"].items():
        write_text_atomically(folder / "figures" / f"{column}.svg", drawing)
    templates = _templates()
    text = templates.get_template("entry.md.j2").render(content)
    write_text_atomically(folder / "entry.md", text)
    page = templates.get_template("index.html.j2").render(content | {"assets": _assets()})
    write_text_atomically(folder / "index.html", page)
    write_logbook(store)
    return Entry(record.name, folder)


def write_logbook(store: Store) -> Path:
    """Writes ``LOGBOOK.md``: every entry, the newest first."""
    entries = [
        {
            "folder": record.entry,
            "date": record.created[:10],
            "name": record.name,
            "question": record.question,
            "command": record.command,
            "notes": store.notes(record.id),
        }
        for record in sorted(store.experiments(), key=lambda each: each.created, reverse=True)
        if record.entry is not None
    ]
    path = store.path / "logbook" / "LOGBOOK.md"
    text = _templates().get_template("logbook.md.j2").render(entries=entries)
    write_text_atomically(path, text)
    return path


def _folder_name(store: Store, record: ExperimentRecord) -> str:
    """DATE-NAME; with a number where another experiment of that name and day has it."""
    if record.entry is not None:
        return record.entry
    taken = {each.entry for each in store.experiments()}
    plain = f"{record.created[:10]}-{record.name}"
    names = [plain, *(f"{plain}-{number}" for number in range(2, len(taken) + 3))]
    name = next(each for each in names if each not in taken)
    store.set_entry(record.id, name)
    return name


def _content(store: Store, record: ExperimentRecord) -> dict[str, Any]:
    asked = experiment(record.definition)
    metrics = experiment_metrics(store, record.name)
    runs = store.runs(record.name)
    header, rows = table(summarise(store, record.name))
    keys = [axis.key for axis in asked.axes]
    levels = {} if not asked.variants else asked.variants[0].parts.task.natural_levels
    drawn = _drawn(metrics, keys)
    return {
        "record": record,
        "date": record.created[:10],
        "grid": [
            (axis.key, ", ".join(str(choice.label) for choice in axis.choices))
            for axis in asked.axes
        ],
        "seeds": ", ".join(map(str, asked.seeds)),
        "base": _base(asked),
        "header": header,
        "rows": rows,
        "statuses": _counted(runs),
        "troubles": [run for run in runs if run.status in ("diverged", "failed")],
        "seconds": sum(run.seconds for run in runs),
        "segments": _facts(store, runs),
        "figures": {column: curves(found, column, levels) for column, found in drawn.items()},
        "titles": {column: _SHORT.get(column, column.replace("_", " ")) for column in drawn},
        "data": _plot_data(drawn, levels),
        "notes": [(when, MarkdownIt().render(text)) for when, text in store.notes(record.id)],
        "note_texts": store.notes(record.id),
        "run_ids": [(run.run, _variant(run), run.seed, run.status) for run in runs],
    }


def _drawn(metrics: pl.DataFrame, keys: list[str]) -> dict[str, Any]:
    found = {column: bands(metrics, keys, column) for column in DRAWN if column in metrics.columns}
    return {column: each for column, each in found.items() if each}


def _plot_data(drawn: dict[str, Any], levels: dict[str, float]) -> str:
    """The curves as JSON for the page, safe inside a script element."""
    data = {
        column: {
            "wide": is_wide(found),
            "levels": levels if column.endswith("loss") else {},
            "curves": [
                {
                    "label": band.label,
                    "colour": colour,
                    "dash": list(dash),
                    "steps": band.steps,
                    "mean": _rounded(band.mean),
                    "low": _rounded(band.low),
                    "high": _rounded(band.high),
                }
                for band, (colour, dash) in zip(found, styles(found), strict=True)
            ],
        }
        for column, found in drawn.items()
    }
    return json.dumps(data, separators=(",", ":")).replace("</", "<\\/")


def _rounded(values: list[float]) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def _base(asked: Experiment) -> list[tuple[str, Any]]:
    """The settings that were written down, as dotted keys."""
    parts = {
        key: value
        for key, value in asked.definition.items()
        if key in ("task", "model", "train", "watch")
    }
    return [(".".join(path), value) for path, value in leaves(parts)]


def _counted(runs: list[RunRecord]) -> str:
    statuses = [run.status for run in runs]
    return ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))


def _facts(store: Store, runs: list[RunRecord]) -> list[str]:
    """How the runs were trained: engine, width, device and threads, each combination once."""
    wanted = {run.run for run in runs}
    found: dict[str, None] = {}
    for row in store.index.rows("SELECT id, segments FROM runs"):
        if row["id"] in wanted:
            for segment in json.loads(row["segments"]):
                text = (
                    f"engine {segment['engine']}, width {segment['width']}, {segment['device']}, "
                    f"{segment['threads']} threads, torch {segment['torch']}"
                )
                found[text] = None
    return list(found)


def _variant(run: RunRecord) -> str:
    return ", ".join(f"{key}={value}" for key, value in run.variant.items()) or "base"


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("ablab.logbook", "assets"),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = lambda value: re.sub(r"([|\\])", r"\\\1", str(value))
    return environment


def _assets() -> dict[str, str]:
    folder = resources.files("ablab.logbook").joinpath("assets")
    return {
        "uplot_js": folder.joinpath("uplot", "uPlot.iife.min.js").read_text(encoding="utf-8"),
        "uplot_css": folder.joinpath("uplot", "uPlot.min.css").read_text(encoding="utf-8"),
        "page_js": folder.joinpath("page.js").read_text(encoding="utf-8"),
        "page_css": folder.joinpath("page.css").read_text(encoding="utf-8"),
    }
