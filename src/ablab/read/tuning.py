"""Reads what tuning found: the best settings, how flat the optimum is, and what it cost."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ablab.experiments.axes import as_text
from ablab.experiments.grid import INACTIVE
from ablab.experiments.trials import score
from ablab.experiments.tuned_cells import digest_of_trials, tuned_settings
from ablab.experiments.tuning import SUFFIX, Tuning, tuning_of
from ablab.read.directions import column_direction
from ablab.read.halving import by_variant
from ablab.read.measures import measure_table
from ablab.read.quantity import Quantity
from ablab.read.statistics.array import Array
from ablab.read.statistics.scales import choose
from ablab.read.tuning_report import Cost, End, TunedSetting, TunedVariant, TuningReport
from ablab.store.metrics import experiment_runs
from ablab.store.rungs import rung_decisions
from ablab.store.store import ExperimentRecord, RunRecord, Store
from ablab.tasks.config import Direction

_BROKEN = ("diverged", "failed")
_FEWEST = 3  # distinct values, of which the best one can be at an end


def trial_values(store: Store, record: ExperimentRecord, measure: str) -> dict[str, float | None]:
    """The measure of each run, by run id; None if it diverged, failed or did not reach it.

    Raises:
        InputError: The measure's column was not logged.
    """
    frame = measure_table(store, record, measure).select("run", "value", "status")
    return {run: None if status in _BROKEN else value for run, value, status in frame.iter_rows()}


def tuning_report(store: Store, record: ExperimentRecord) -> TuningReport | None:
    """What tuning found for an experiment; None if it was not tuned.

    Reads the store only. Needs neither the search's package nor a user's modules.

    Raises:
        InputError: The stored definition is damaged.

    Args:
        store: The store.
        record: The experiment whose variants were tuned.
    """
    digest = digest_of_trials(record.definition)
    tuning = None if digest is None else tuning_of(record.definition)
    if digest is None or tuning is None:
        return None
    trials, cells = store.experiment_of_digest(digest), tuned_settings(record.definition)
    own = _by_variant(experiment_runs(store, record), record)
    every = [] if trials is None else experiment_runs(store, trials)
    others = _by_variant(every, record)
    paused = Counter() if trials is None else _paused(store, trials, every, record)
    reported = trial_values(store, record, tuning.measure)
    values = {} if trials is None else trial_values(store, trials, tuning.measure)
    about = record if trials is None else trials
    quantity = Quantity.of(about, tuning.parsed_measure)
    variants = []
    for place, (text, runs) in enumerate(own.items()):
        better = _direction(record, tuning, place)
        tried = _trials(others.get(text, []), tuning, values)
        settings = _settings_of(cells, runs[0].variant)
        fresh = [reported[run.run] for run in runs]
        variants.append(
            _found(
                {key: runs[0].variant.get(key) for key in record.definition["grid"]},
                settings, tried, fresh, tuning, better, quantity, paused[text],
                Cost.of(others.get(text, [])), Cost.of(runs),
            )
        )  # fmt: skip
    seeds = () if trials is None else tuple(trials.definition["seeds"])
    name = None if trials is None else record.name + SUFFIX
    return TuningReport(tuning, name, seeds, tuple(variants))


@dataclass(frozen=True)
class _Trial:
    """A trial: its settings, and a value for each seed; None for a seed without one."""

    settings: dict[str, Any]
    values: list[float | None]


def _by_variant(runs: Sequence[RunRecord], record: ExperimentRecord) -> dict[str, list[RunRecord]]:
    """Runs by the text of their variant of the tuned experiment."""
    found: dict[str, list[RunRecord]] = {}
    for run in runs:
        cell = {key: run.variant.get(key) for key in record.definition["grid"]}
        found.setdefault(as_text(cell), []).append(run)
    return found


def _trials(
    runs: Sequence[RunRecord], tuning: Tuning, values: Mapping[str, float | None]
) -> list[_Trial]:
    """The trials of a variant."""
    found: dict[str, _Trial] = {}
    for run in runs:
        settings = {key: run.variant[key] for key in tuning.over}
        trial = found.setdefault(json.dumps(settings), _Trial(settings, []))
        trial.values.append(values[run.run])
    return list(found.values())


def _paused(
    store: Store, trials: ExperimentRecord, runs: Sequence[RunRecord], record: ExperimentRecord
) -> Counter[str]:
    """How many trials of each variant of the tuned experiment halving has paused."""
    gone = {each.variant for each in rung_decisions(store, trials.id) if each.outcome == "paused"}
    places = by_variant(store, trials, runs) if gone else {}
    return Counter(text for place in gone for text in _by_variant(places[place][:1], record))


def _settings_of(
    cells: Sequence[tuple[dict[str, Any], dict[str, Any]]], variant: Mapping[str, Any]
) -> dict[str, Any]:
    """The tuned settings of a variant."""
    for cell, settings in cells:
        same = all(as_text(cell[key]) == as_text(variant.get(key)) for key in cell)
        if same and all(variant[key] in (None, INACTIVE) for key in variant if key not in cell):
            return settings
    return {}


def _direction(record: ExperimentRecord, tuning: Tuning, place: int) -> Direction:
    measure = tuning.parsed_measure
    if tuning.is_of_steps:
        return "lower"
    return measure.direction or column_direction(record, measure.column, place) or "lower"


def _found(
    keys: dict[str, Any],
    settings: Mapping[str, Any],
    tried: Sequence[_Trial],
    fresh: Sequence[float | None],
    tuning: Tuning,
    better: Direction,
    quantity: Quantity,
    paused: int,
    cost: Cost,
    report_cost: Cost,
) -> TunedVariant:
    """What tuning found for a variant."""
    sign = 1.0 if better == "lower" else -1.0
    scores = [score([np.inf if v is None else sign * v for v in each.values]) for each in tried]
    known = [each for each, own in zip(tried, scores, strict=True) if np.isfinite(own)]
    chosen = next((e for e in known if e.settings == dict(settings)), None)
    good = None if chosen is None else as_good(known, chosen, sign, quantity)
    return TunedVariant(
        keys,
        tuple(_setting(key, settings.get(key), tried, good) for key in tuning.over),
        None if chosen is None else _median(chosen.values),
        _median(fresh),
        len(tried),
        len(tried) - len(known) - paused,
        None if good is None else len(good),
        cost,
        report_cost,
        paused,
    )


def _median(values: Sequence[float | None]) -> float | None:
    """The median over seeds; None if there is a seed without a value, or no seed."""
    known = [each for each in values if each is not None]
    return float(np.median(known)) if known and len(known) == len(values) else None


def _setting(
    key: str, value: Any, tried: Sequence[_Trial], good: Sequence[_Trial] | None
) -> TunedSetting:
    """What was found of a tuned setting. Beyond the end may also be trials that diverged."""
    values = sorted({each.settings[key] for each in tried})
    if value is None or len(values) < _FEWEST:
        return TunedSetting(key, value)
    inside = sorted(each.settings[key] for each in good or [])
    whole = bool(inside) and inside[0] == values[0] and inside[-1] == values[-1]
    end: End | None = None
    if not whole:  # any value is as good, then
        end = "low" if value == values[0] else "high" if value == values[-1] else None
    return TunedSetting(key, value, (inside[0], inside[-1]) if inside else None, end)


def as_good(known: Sequence[Any], best: Any, sign: float, quantity: Quantity) -> list[Any] | None:
    """The trials that are as good as the best, itself included; None if noise is not known.

    On the measure's scale (:func:`ablab.read.statistics.scales.choose`), the noise is the variance
    of what the average of a trial and that of a seed do not explain, over the better half of the
    trials: seeds are the same for all trials, so what they have in common does not blur a
    difference. A trial is as good if its mean is within sqrt(2 v / k) of that of the best, with k
    seeds.

    Args:
        known: The trials with a value on every seed.
        best: The best of them.
        sign: 1 if lower values are better, else -1.
        quantity: What is known of the values.
    """
    values = np.array([each.values for each in known], dtype=float)  # (trials, seeds)
    seeds = values.shape[1]
    half = np.argsort(sign * np.median(values, axis=1), kind="stable")[: max(2, len(known) // 2)]
    if seeds < 2 or len(half) < 2:
        return None
    scaled: Array = choose(values[half].ravel(), quantity.limits, quantity.counted).of(values)
    part = scaled[half]
    rest = part - part.mean(1, keepdims=True) - part.mean(0, keepdims=True) + part.mean()
    variance = float((rest**2).sum()) / ((len(half) - 1) * (seeds - 1))
    means = scaled.mean(axis=1)
    mine = means[next(n for n, each in enumerate(known) if each is best)]
    near = sign * (means - mine) <= np.sqrt(2 * variance / seeds)
    return [each for each, is_near in zip(known, near, strict=True) if is_near]
