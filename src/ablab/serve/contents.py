"""The contents of the pages, read from a store. Nothing here writes."""

import json
from dataclasses import replace
from functools import partial
from typing import Any

import polars as pl

from ablab.experiments.experiment import variant_label
from ablab.experiments.inactive import nullable_keys
from ablab.experiments.seeds import seeds_text
from ablab.experiments.tree import leaves
from ablab.logbook.conclusions import experiment_answer, shown_in_entry
from ablab.logbook.drawn_curves import DRAWN, column_titles, drawn_curves, variant_costs
from ablab.logbook.entry import choices
from ablab.logbook.factor_curves import factor_curves
from ablab.logbook.main_setting import main_setting, needs_main_setting
from ablab.logbook.marks import column_marks
from ablab.logbook.plotdata import PlotData, plot_data
from ablab.logbook.scales import planned_ends
from ablab.logbook.shown_variants import are_many
from ablab.logbook.statistic_sections import incidents, shown_columns
from ablab.read.by_factor import by_factor
from ablab.read.directions import column_direction
from ablab.read.step_costs import step_costs
from ablab.store.artifacts import list_artifacts
from ablab.store.metrics import (
    column_cells,
    experiment_metrics,
    experiment_runs,
    read_runs,
    unwatched_columns,
)
from ablab.store.processes import name_of, this_host
from ablab.store.run_rows import experiments_with, longest_experiment, segments_of_runs
from ablab.store.store import ExperimentRecord, RunRecord, Store
from ablab.store.sums import Sums, experiment_sums, total_sums
from ablab.store.versions import experiment_tables_version, run_tables_version

ENTRIES, RUNS = 100, 500  # of a page
LARGE = 2_000  # runs of an experiment from which on its page lists them
_LIVE = ("running", "planned", "interrupted")


def logbook(store: Store, entries_page: int, runs_page: int) -> dict[str, Any]:
    """The start page: experiments, newest first, and runs, a page of each.

    Args:
        store: The store.
        entries_page: The page of experiments, from 1; the last page if there are fewer.
        runs_page: The page of runs, in the same way.
    """
    records = sorted(store.experiments(), key=lambda each: (each.created, each.id), reverse=True)
    # Progress is counted up to an experiment's own number of steps.
    sums, total = experiment_sums(store.index), total_sums(store.index)
    entries = _page(entries_page, len(records), ENTRIES)
    experiments = [
        {
            "record": record,
            **_progress(sums.get(record.id, Sums())),
            "notes": len(store.notes(record.id)),
        }
        for record in records[entries["first"] : entries["first"] + ENTRIES]
    ]
    pages = _page(runs_page, total.runs, RUNS)
    every, _ = store.run_page(pages["first"], RUNS)
    return {
        "entries": entries,
        "pages": pages,
        "experiments": experiments,
        "runs": _listed(store, every, records),
        "other": f"entries={entries['number']}",
        **_progress(total),
    }


def is_large(store: Store, record: ExperimentRecord) -> bool:
    """Whether an experiment has so many runs that its page lists them instead of its entry."""
    return experiment_sums(store.index).get(record.id, Sums()).runs > LARGE


def large_experiment(store: Store, record: ExperimentRecord, runs_page: int) -> dict[str, Any]:
    """The page of a large experiment: its grid, its progress, and a page of its runs.

    Args:
        store: The store.
        record: The experiment.
        runs_page: The page of runs, from 1; the last page if there are fewer.
    """
    sums = experiment_sums(store.index).get(record.id, Sums())
    pages = _page(runs_page, sums.runs, RUNS)
    runs = experiment_runs(store, record, pages["first"], RUNS)
    newest = sorted(store.experiments(), key=lambda each: (each.created, each.id), reverse=True)
    grid = record.definition["grid"]
    axes = [(key, choices(values)) for key, values in grid.items()]
    return {
        "record": record,
        "address": f"/experiments/{record.id}",
        "axes": [*axes, ("seeds", seeds_text(record.definition))],
        "pages": pages,
        "runs": _listed(store, runs, newest),
        "other": "",
        **_progress(sums),
    }


def _listed(
    store: Store, runs: list[RunRecord], newest_first: list[ExperimentRecord]
) -> list[dict[str, Any]]:
    """Runs as rows of a table, with the numbers of their experiments.

    Of experiments with one name, it is that of the newest one that has the run.
    """
    numbers: dict[str, list[int]] = {}
    for record in newest_first:
        numbers.setdefault(record.name, []).append(record.id)

    def number(run: RunRecord, name: str) -> int:
        if len(numbers[name]) == 1:
            return numbers[name][0]
        own = experiments_with(store, run.run)
        return next((each for each in numbers[name] if each in own), numbers[name][0])

    return [
        {
            "run": run,
            "variant": variant_label(run.variant),
            # One that was registered since the list of experiments was read is left out.
            "experiments": [
                (name, number(run, name)) for name in run.experiments if name in numbers
            ],
        }
        for run in runs
    ]


def _page(asked: int, count: int, size: int) -> dict[str, int]:
    """A page of a list: its number, the number of all, the place of its first item, all items."""
    most = max(1, -(-count // size))
    number = min(max(1, asked), most)
    return {"number": number, "most": most, "first": (number - 1) * size, "count": count}


def _progress(sums: Sums) -> dict[str, Any]:
    """As :func:`progress`, from sums."""
    running = sums.statuses.get("running", 0)
    return {"statuses": sums.words, "share": sums.share, "running": running}


def progress(store: Store, runs: list[RunRecord]) -> dict[str, Any]:
    """The progress of runs: a line of status counts, fraction of steps done, running runs.

    Machines are named if runs are trained on others than this one.
    """
    statuses = [run.status for run in runs]
    counts = {status: statuses.count(status) for status in dict.fromkeys(statuses)}
    # A run that has ended for any reason has no steps left.
    done = sum(run.step if run.status in _LIVE else run.steps for run in runs)
    return {
        "statuses": ", ".join(
            f"{count:,} {status}" + (_machines(store, runs) if status == "running" else "")
            for status, count in counts.items()
        ),
        "share": done / max(1, sum(run.steps for run in runs)),
        "running": counts.get("running", 0),
    }


def _machines(store: Store, runs: list[RunRecord]) -> str:
    """Where the running ones of some runs were trained at their last checkpoint, in words."""
    running = [run.run for run in runs if run.status == "running"]
    hosts = [
        name_of(str(segments[-1].get("host", "")))
        for segments in segments_of_runs(store, running).values()
        if segments
    ]
    if not set(hosts) - {name_of(this_host())}:
        return ""
    counts = {host: hosts.count(host) for host in sorted(set(hosts))}
    return f" ({', '.join(f'{count} on {host}' for host, count in counts.items())})"


def live(store: Store, runs: list[RunRecord], version: str, tables: str) -> dict[str, Any]:
    """What a live page needs: the progress of its runs and the versions that it shows."""
    return {"live": progress(store, runs) | {"tables": tables}, "version": version}


def experiment_data(store: Store, record: ExperimentRecord, version: str) -> str:
    """The curves and progress of an experiment, as JSON."""
    metrics = experiment_metrics(
        store, record, lambda names: unwatched_columns(names) + shown_columns(names)
    )
    direction = partial(column_direction, record)
    grid = record.definition["grid"]
    every = store.runs(record)
    needs_main = needs_main_setting(every)
    needs_answer = needs_main or are_many(every)
    answer = experiment_answer(store, record, every) if needs_answer else None
    runs = shown_in_entry(record, every, answer)[1].runs
    metrics = metrics.filter(pl.col("run").is_in([run.run for run in runs]))
    drawn = drawn_curves(metrics, list(grid), direction, nullable_keys(grid))
    drawn |= factor_curves(by_factor(store, record, runs), runs, direction)
    cells = column_cells(runs)
    marks = column_marks(store, record, runs, [name for name in DRAWN if name in drawn])
    costs = variant_costs(runs, step_costs(store, record, runs))
    main = main_setting(record, answer.effects if answer is not None and needs_main else None)
    plot = plot_data(
        drawn, column_titles(drawn), record.levels, marks, cells, costs, main, planned_ends(every)
    )
    tables = experiment_tables_version(store, record)
    return _live_document(version, plot, progress(store, every) | {"tables": tables})


def run_data(store: Store, run: RunRecord, version: str) -> str:
    """The curves and progress of a run, as JSON."""
    about = progress(store, [run]) | {"tables": run_tables_version(run)}
    return _live_document(version, run_curves(store, run)[1], about)


def find_run(store: Store, run: str) -> RunRecord:
    """A run by its full id.

    Raises:
        LookupError: There is none.
    """
    if store.known([run]):
        return store.run_records([run])[0]
    raise LookupError(f"the store has no run {run!r}")


def find_experiment(store: Store, number: int) -> ExperimentRecord:
    """An experiment by its number in the store.

    Raises:
        LookupError: There is none.
    """
    for each in store.experiments():
        if each.id == number:
            return each
    raise LookupError(f"the store has no experiment number {number}")


def run_curves(store: Store, run: RunRecord) -> tuple[dict[str, str], PlotData]:
    """The titles of a run's curves by column, and the curves."""
    frame = read_runs(
        store, [run.run], lambda names: unwatched_columns(names) + shown_columns(names)
    )
    longest = longest_experiment(store, run.run)
    record = next(each for each in store.experiments() if each.id == longest)
    drawn = drawn_curves(frame.with_columns(pl.lit(run.seed).alias("seed")), ["run"])
    titles = column_titles(drawn)
    alone = replace(run, variant={"run": run.run})  # which is the only axis of the run's page
    costs = variant_costs([alone], step_costs(store, record, [run]))
    return titles, plot_data(drawn, titles, record.levels, costs=costs)


def run_content(store: Store, run: RunRecord) -> dict[str, Any]:
    """The contents of a run's page: settings, curves, captures and incidents."""
    row = store.run_row(run.run)
    titles, plot = run_curves(store, run)
    having = experiments_with(store, run.run)
    newest = {each.name: each.id for each in store.experiments() if each.id in having}
    return {
        "run": run,
        "variant": variant_label(run.variant),
        "experiments": [(name, newest[name]) for name in run.experiments],
        "settings": [(".".join(path), v) for path, v in leaves(json.loads(row["trajectory"]))],
        "segments": json.loads(row["segments"]),
        "captures": [each.step for each in list_artifacts(store, "capture", run.run)],
        "incidents": incidents(store, [run]),
        "titles": titles,
        "figures": {},
        "plot": plot,
    }


def _live_document(version: str, plot: PlotData, about: dict[str, Any]) -> str:
    head = json.dumps({"version": version, **about}, ensure_ascii=False)
    # The curves are already JSON, and too large to encode again.
    return f'{head[:-1]}, "grid": {plot.grid}, "data": {plot.data}}}'
