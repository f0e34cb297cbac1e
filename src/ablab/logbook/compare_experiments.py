"""Compares experiments: their answers, all variants in one table, and what differs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from ablab.config import InputError, counted
from ablab.experiments.measures import parse_measure
from ablab.logbook.answer import answer_measure
from ablab.logbook.comparison import (
    Comparison,
    Drawn,
    Part,
    Table,
    cell_label,
    draw,
    drawn_columns,
    setting_text,
)
from ablab.logbook.conclusions import experiment_answer
from ablab.logbook.experiment_differences import difference_sentences
from ablab.logbook.marks import curve_marks
from ablab.read.curves.numbers import number
from ablab.read.directions import measure_range
from ablab.read.effects.results import gather
from ablab.read.effects.stored import better_values
from ablab.read.guessing import guessing_loss
from ablab.read.measure_words import measure_words
from ablab.read.measures import measure_table
from ablab.read.medians import spread_words
from ablab.read.readings import experiment_readings
from ablab.read.side_by_side import JointVariant, Member, SideBySide, find_members, side_by_side
from ablab.store.index import StoreError
from ablab.store.metrics import experiment_metrics, key_column
from ablab.store.store import Store

_COLOURED = 4  # with more settings, curves are told apart by experiment and name only
_LISTED = 6  # so many values of a setting are listed
_SAID = 2  # so many sentences of an answer; its entry has the others


@dataclass(frozen=True)
class Values:
    """A measure of the runs of one experiment.

    Attributes:
        frame: A row for each run; None if the measure was not logged.
        cut: The value between runs that learnt and runs that did not; None without two groups.
        better: Whether lower or higher values are better; None if it is not declared.
        ends: Whether the measure tells which runs learnt.
    """

    frame: pl.DataFrame | None
    cut: float | None
    better: str | None
    ends: bool = True


def compare_experiments(
    stores: Sequence[Store], names: Sequence[str], measure: str | None = None
) -> Comparison:
    """Compares experiments; reads only what is stored, and runs and imports nothing.

    Args:
        stores: The stores to search, in order; pages link to entries of the first.
        names: The experiments, or the names of their entries' folders.
        measure: The measure; by default that which all their questions are about, else the final
            held-out loss, or the final training loss.

    Raises:
        InputError: A name is unknown or given twice, an experiment has no run that has ended, or no
            run has the measure.
        StoreError: Metrics are missing or damaged.
    """
    found = side_by_side(find_members(stores, names))
    measure, why, frames = _choose_measure(found.members, measure)
    values = [_values(member, measure, frames[place]) for place, member in enumerate(found.members)]
    parts = []
    for member in found.members:
        answer = experiment_answer(member.store, member.record, member.runs)
        own = member.store is stores[0]
        entry = member.record.entry if own else None
        question = member.record.question
        parts.append(Part(member.name, question, answer.sentences[:_SAID], entry, answer.state))
    findings = [*difference_sentences(found, measure, frames)]
    return Comparison(
        targets=list(names),
        kind="experiments",
        measure=measure,
        parts=parts,
        findings=findings,
        tables=[_results(found, measure, why, values), *_settings(found)],
        drawn=_drawn(found),
        data=_data(found, measure, values),
    )


def _choose_measure(
    members: Sequence[Member], asked: str | None
) -> tuple[str, str, list[pl.DataFrame | None]]:
    """The measure, why it is this one, and its values by experiment; None where not logged."""
    if asked is not None:
        frames = [_table(member, asked) for member in members]
        if all(frame is None for frame in frames):
            measure_table(members[0].store, members[0].record, asked)  # raises
        return asked, "", frames
    answers = {answer_measure(member.record) for member in members}
    (agreed, *others) = answers
    if not others and agreed is not None:
        frames = [_table(member, agreed) for member in members]
        if any(frame is not None for frame in frames):
            return agreed, "The questions of all of them are about it.", frames
    why = "Their questions are about different measures or name none; --measure chooses another."
    for candidate in ("final(eval_loss)", "final(train_loss)"):
        frames = [_table(member, candidate) for member in members]
        if all(frame is not None and frame["value"].is_not_null().any() for frame in frames):
            break
    return candidate, why, frames


def _table(member: Member, measure: str) -> pl.DataFrame | None:
    parse_measure(measure)  # an invalid one is an error, not a missing column
    try:
        return measure_table(member.store, member.record, measure)
    except StoreError:
        raise
    except InputError:  # its column was not logged
        return None


def _values(member: Member, measure: str, frame: pl.DataFrame | None) -> Values:
    better = better_values(member.record, measure)
    if frame is None or frame.is_empty():
        return Values(None, None, better)
    places = {run.run: cell_label(run.variant) for run in member.runs}
    cells = frame.select(
        pl.Series("variant", [places[run] for run in frame["run"]]), "seed", "value", "not_before",
        "reason",
    )  # fmt: skip
    parsed = parse_measure(measure)
    guessing, limits = guessing_loss(member.record, parsed), measure_range(member.record, parsed)
    found = gather(
        cells, ["variant"], measure=measure, better=better, guessing=guessing, limits=limits
    )
    cut = found.cut if found.reached is None else None
    if cut is not None and found.scale == "ratio":
        cut = float(pl.Series([cut]).exp()[0])
    return Values(frame, cut, better, parsed.is_end)


def _results(found: SideBySide, measure: str, why: str, values: Sequence[Values]) -> Table:
    """The table of all variants."""
    words = measure_words(measure)
    rows = []
    for each in found.variants:
        statuses = [run.status for run in each.runs]
        sizes = [run.n_params for run in each.runs if run.n_params]
        low, high = min(run.step for run in each.runs), max(run.step for run in each.runs)
        rows.append(
            [
                found.members[each.member].name,
                each.name,
                ", ".join(f"{statuses.count(one)} {one}" for one in dict.fromkeys(statuses)),
                f"{max(sizes):,}" if sizes else "",
                f"{high:,}" if low == high else f"{low:,} to {high:,}",
                _value_words(each, values[each.member]),
            ]
        )
    header = ["experiment", "variant", "runs", "parameters", "steps", words]
    note = (
        "Median [lowest, highest] over seeds. Where some runs learnt and others did not, how many "
        "did comes first, and the values are theirs. A run that did not reach a step counts as "
        f"later than all others. {why}"
    )
    return Table("Results", header, rows, note.strip(), ("variant", words))


def _value_words(variant: JointVariant, values: Values) -> str:
    """A measure of a variant's runs: how many got there first, then the median and the range."""
    if values.frame is None:
        return "not logged"
    rows = _rows(variant, values.frame)
    numbers = [row["value"] for row in rows if row["value"] is not None]
    bounds = [row["not_before"] for row in rows if row["not_before"] is not None]
    missed = len(bounds)
    lacking = len(rows) - len(numbers) - missed
    counts = ""
    if missed:
        counts = f"{len(numbers)} of {counted(len(numbers) + missed, 'run')} reached it"
    elif values.cut is not None:
        higher = values.better == "higher"
        ours = [value for value in numbers if (value > values.cut) == higher]
        said = "learnt" if values.better is not None else f"below {values.cut:.3g}"
        if values.better is not None and not values.ends:
            said = f"in the {'higher' if higher else 'lower'} group"
        counts = f"{len(ours)} of {counted(len(numbers), 'run')} {said}"
        numbers = ours or numbers
    spread = spread_words(numbers, number, missed, min(bounds, default=None)) if numbers else ""
    told = ": ".join(each for each in (counts, spread) if each)
    without = f"{lacking} without a value" if lacking else ""
    return "; ".join(each for each in (told, without) if each)


def _rows(variant: JointVariant, frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.filter(pl.col("run").is_in([run.run for run in variant.runs])).to_dicts()


def _settings(found: SideBySide) -> list[Table]:
    """The settings that differ, by experiment."""
    keys = [*found.between, *found.within]
    if not keys:
        return []
    rows = []
    for key in keys:
        cells = []
        for place in range(len(found.members)):
            known = [each.settings[key] for each in found.of(place) if key in each.settings]
            texts = list(dict.fromkeys(map(setting_text, known)))
            few = len(texts) <= _LISTED
            cells.append(", ".join(texts) if few else f"{', '.join(texts[:_LISTED])}, …")
        rows.append([key, *(cell or "not a setting here" for cell in cells)])
    names = [member.name for member in found.members]
    note = "Settings that follow from others, such as the width of the MLP, are left out."
    return [Table("Settings that differ", ["setting", *names], rows, note, tuple(names))]


def _drawn(found: SideBySide) -> Drawn:
    """The curves of all variants of all experiments."""
    naming = found.naming
    keys = ["experiment", *(naming if len(naming) <= _COLOURED else ["variant"])]

    def cell(variant: JointVariant) -> dict[str, Any]:
        about = {"experiment": found.members[variant.member].name, "variant": variant.name}
        return {key: about.get(key, variant.settings.get(key)) for key in keys}

    cells = [cell(variant) for variant in found.variants]
    table = pl.DataFrame({key: key_column([each[key] for each in cells]) for key in keys})
    cells = table.to_dicts()  # as they are in the frame
    table = table.with_row_index("_variant")
    frames: list[pl.DataFrame] = []
    marks: dict[str, list[dict[str, Any]]] = {}
    for place, member in enumerate(found.members):
        mine = [at for at, each in enumerate(found.variants) if each.member == place]
        of_run = {run.run: at for at in mine for run in found.variants[at].runs}
        frame = experiment_metrics(member.store, member.record, drawn_columns)
        logged = drawn_columns(frame.columns)
        frame = frame.select("run", "seed", "step", *logged).with_columns(
            pl.col("run").replace_strict(of_run, return_dtype=pl.UInt32).alias("_variant")
        )
        frames.append(frame)
        readings = experiment_readings(member.store, member.record, member.runs)
        runs = [replace(run, variant=cells[of_run[run.run]]) for run in member.runs]
        marks |= curve_marks(runs, readings)
    every = pl.concat(frames, how="diagonal_relaxed")
    every = every.join(table, on="_variant", how="left", maintain_order="left")
    return draw(every.drop("_variant"), keys, cells, _levels(found.members), marks)


def _levels(members: Sequence[Member]) -> dict[str, float]:
    """The natural levels, if all tasks have the same."""
    first = members[0].record.levels
    return first if all(member.record.levels == first for member in members) else {}


def _data(found: SideBySide, measure: str, values: Sequence[Values]) -> dict[str, Any]:
    """The variants with the values of their runs, as plain data."""
    keys = [*found.between, *found.within]
    return {
        "measure": measure,
        "differing": {"between": found.between, "within": found.within},
        "variants": [_variant_data(each, found, keys, values[each.member]) for each in
                     found.variants],
        "shared_runs": found.shared_runs,
    }  # fmt: skip


def _variant_data(
    variant: JointVariant, found: SideBySide, keys: Sequence[str], values: Values
) -> dict[str, Any]:
    rows: Mapping[str, Any] = {}
    if values.frame is not None:
        rows = {row["run"]: row for row in _rows(variant, values.frame)}
    return {
        "experiment": found.members[variant.member].name,
        "variant": variant.name,
        "settings": {key: variant.settings.get(key) for key in keys},
        "runs": [
            {"run": run.run, "seed": run.seed, "status": run.status, "step": run.step,
             "n_params": run.n_params}
            | {name: rows.get(run.run, {}).get(name) for name in ("value", "not_before", "reason")}
            for run in variant.runs
        ],
    }  # fmt: skip
