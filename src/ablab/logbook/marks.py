"""The findings of the curve reader as marks on the curves of pages and static figures."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median_high
from typing import Any

from ablab.read.curves import Plateau, Reading
from ablab.read.curves.numbers import number
from ablab.read.curves.phrases import stays
from ablab.read.curves.reading import Transition
from ablab.read.curves.sentences import PlateauEnds, common_plateaus, plateau_ends
from ablab.read.readings import experiment_readings
from ablab.store.metrics import column_labels
from ablab.store.store import ExperimentRecord, RunRecord, Store

_SPIKES = 12  # maximum number of spikes per variant, highest first


def curve_marks(
    runs: Sequence[RunRecord], readings: Mapping[str, Reading]
) -> dict[str, list[dict[str, Any]]]:
    """The marks of each variant's curve, by label of the variant.

    Plateaus, descents and floors are medians over the seeds that have them (of an even number, the
    higher of the two in the middle), and transitions those of the median seed. Spikes, rises,
    peaks, growbacks, slowdowns and steepenings are marked for each seed.

    Args:
        runs: The runs.
        readings: The readings of the runs, by run id.
    """
    groups: dict[str, list[tuple[int, Reading]]] = {}
    labels = column_labels(runs)
    for run, label in zip(runs, labels, strict=True):
        if run.run in readings:
            group = groups.setdefault(label, [])
            group.append((run.seed, readings[run.run]))
    found = {label: _marks(group) for label, group in groups.items()}
    for run, label in zip(runs, labels, strict=True):
        if run.status == "diverged":
            mark = _mark("diverged", run.step, run.step, None, f"seed {run.seed} diverged")
            found.setdefault(label, []).append(mark)
    return {label: marks for label, marks in found.items() if marks}


def column_marks(
    store: Store, record: ExperimentRecord, runs: Sequence[RunRecord], columns: Iterable[str]
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The marks on the curves of each column, by column and label of the variant.

    Args:
        store: The store.
        record: The experiment.
        runs: The runs.
        columns: The columns, whose readings are made if they are not cached.
    """
    return {
        column: curve_marks(runs, experiment_readings(store, record, runs, column))
        for column in columns
    }


def _marks(group: list[tuple[int, Reading]]) -> list[dict[str, Any]]:
    readings = [reading for _, reading in group]
    several = len(group) > 1
    marks = []
    for members in common_plateaus(readings):
        plateaus = [plateau for _, plateau in members]
        marks.append(_plateau(plateaus, plateau_ends(readings, members)))
        starts = [
            descent.start
            for place, plateau in members
            for descent in readings[place].descents
            if descent.start == plateau.last
        ]
        if starts:
            start = int(median_high(starts))
            level = median_high(plateau.level for plateau in plateaus)
            marks.append(_mark("descent", start, start, level, f"leaves the level at {start:,}"))
    marks += _transitions(group)
    marks += _floor(readings)
    spikes = [(seed, reading, spike) for seed, reading in group for spike in reading.spikes]
    for seed, reading, spike in sorted(spikes, key=lambda each: -each[2].height)[:_SPIKES]:
        height = f"×{number(spike.height)}" if reading.positive else f"+{number(spike.height)}"
        text = f"spike, {height}" + (f", seed {seed}" if several else "")
        marks.append(_mark("spike", spike.step, spike.step + spike.width, None, text))
    for seed, reading in group:
        own = f", seed {seed}" if several else ""
        marks += [
            _mark("growback", each.first, each.last, each.high,
                  f"grows back from {number(each.low)} to {number(each.high)}{own}")
            for each in reading.growbacks[:4]
        ]  # fmt: skip
        marks += [
            _mark("slowdown", each.step, each.step, each.value,
                  f"slows down {each.factor:.0f}-fold{own}")
            for each in reading.slowdowns[:4]
        ]  # fmt: skip
        marks += _other_marks(reading, own)
    return marks


def _other_marks(reading: Reading, own: str) -> list[dict[str, Any]]:
    """Rises, peaks and steepenings of one seed; ``own`` names it."""
    fall, rise = ("falls", "rises") if reading.direction == "lower" else ("rises", "drops")
    peak = "peak" if reading.direction == "lower" else "low"
    marks = [
        _mark("rise", each.first, each.last, each.high,
              f"{rise} from {number(each.low)} to {number(each.high)}{own}")
        for each in reading.rises
    ]  # fmt: skip
    marks += [
        _mark("peak", each.step, each.step, each.value, f"{peak} {number(each.value)}{own}")
        for each in reading.peaks
    ]
    marks += [
        _mark("steepening", each.step, each.step, each.value,
              f"{fall} {number(each.factor)} times as steeply{own}")
        for each in reading.steepenings[:4]
    ]  # fmt: skip
    return marks


def _floor(readings: Sequence[Reading]) -> list[dict[str, Any]]:
    """The mark of the level at which at least half of the seeds end."""
    ending = [reading for reading in readings if reading.floor is not None]
    floors = [reading.floor for reading in ending if reading.floor is not None]
    if not floors or 2 * len(floors) < len(readings):
        return []
    level = median_high(floor.level for floor in floors)
    first = median_high(floor.first for floor in floors)
    last = max(reading.last for reading in readings)
    word = "ceiling" if all(each.direction == "higher" for each in readings) else "floor"
    if all(stays(each) for each in ending):
        word = "stays at"
    text = f"{word} {number(level)}"
    return [_mark("floor", first, last, level, text) | {"name": text}]


def _transitions(group: Sequence[tuple[int, Reading]]) -> list[dict[str, Any]]:
    """The marks of transitions: of the median seed if none has several, else of each seed.

    Seeds without a transition count as later than the others, so if most have none, there is no
    median to mark.
    """
    found = [(seed, each) for seed, reading in group for each in reading.transitions]
    if len(group) == 1 or any(len(reading.transitions) > 1 for _, reading in group):
        own = ", seed {}" if len(group) > 1 else ""
        return [_transition(each, own.format(seed)) for seed, each in found]
    ordered = sorted(found, key=lambda item: item[1].step)
    if len(group) // 2 >= len(ordered):
        return []
    seed, middle = ordered[len(group) // 2]
    first, last = ordered[0][1].step, ordered[-1][1].step
    return [
        _transition(middle, f", seed {seed}; {len(found)} of {len(group)} seeds, at "
                    f"{first:,} to {last:,}")
    ]  # fmt: skip


def _transition(each: Transition, more: str) -> dict[str, Any]:
    """The mark of a transition: its width, around its step, from the level before to that after."""
    text = (
        f"transition from {number(each.low)} to {number(each.high)} at {each.step:,}, "
        f"10% to 90% in {each.width:,} steps{more}"
    )
    first = max(0, each.step - each.width // 2)
    mark = _mark("transition", first, first + each.width, (each.low + each.high) / 2, text)
    return mark | {"span": [each.low, each.high]}


def _plateau(plateaus: list[Plateau], ends: PlateauEnds) -> dict[str, Any]:
    """The mark of a common plateau, up to the median step at which runs leave it."""
    level = median_high(plateau.level for plateau in plateaus)
    first = int(median_high(plateau.first for plateau in plateaus))
    middle = ends.last if ends.median is None else ends.median
    assert middle is not None, "a median that is not reached has the step up to which it is not"
    name = plateaus[0].name or number(level)
    text = f"{name} until {ends.words('after', 'not left')}"
    if ends.open_words:
        text = f"{name}: {ends.open_words}"
    return _mark("plateau", first, int(middle), level, text) | {"name": name}


def _mark(kind: str, first: int, last: int, level: float | None, text: str) -> dict[str, Any]:
    return {"kind": kind, "from": first, "to": last, "level": level, "text": text}
