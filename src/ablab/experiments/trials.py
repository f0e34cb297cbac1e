"""The trials of an experiment that is tuned, as an experiment of their own, and their choice."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablab.config import InputError, Problem
from ablab.experiments.axes import as_text
from ablab.experiments.experiment import Experiment, experiment
from ablab.experiments.parts import PARTS
from ablab.experiments.registration import register
from ablab.experiments.search import Settings
from ablab.experiments.tuning import SUFFIX, Tuning, selection_seeds, tuning_of
from ablab.tasks.config import Direction
from ablab.watching.names import is_statistic


@dataclass(frozen=True)
class Trials:
    """The trials of an experiment that is tuned.

    Attributes:
        experiment: The experiment of all trials, without repetitions.
        places: For each variant of the tuned experiment, the place of the variant of each of its
            trials; a repeated trial has that of the first.
    """

    experiment: Experiment
    places: list[list[int]]


def cells_of(asked: Experiment) -> list[dict[str, Any]]:
    """The cell of each variant as plain data: the labels of the keys that vary there."""
    if "cells" in asked.definition:
        return [dict(cell) for cell in asked.definition["cells"]]
    return [dict(variant.keys) for variant in asked.variants]


def trial_experiment(asked: Experiment, trials: Sequence[Sequence[Settings]]) -> Trials:
    """The experiment of the trials of each variant, on seeds that are not reported.

    Its grid has the axes of the tuned experiment, and each tuned setting as a further one.

    Args:
        asked: The experiment that is tuned.
        trials: The settings of the trials of each variant.
    """
    definition, tuning = asked.definition, asked_tuning(asked)
    cells = cells_of(asked)
    rows = [cell | settings for cell, own in zip(cells, trials, strict=True) for settings in own]
    values = {
        key: sorted({as_text(row[key]): row[key] for row in rows}.values()) for key in tuning.over
    }
    grid = definition["grid"] | values
    distinct = _in_order({as_text(row): row for row in rows}.values(), grid)
    parts = {part: definition[part] for part in PARTS if part in definition}
    parts["train"] = _with_few_snapshots(parts.get("train", {}))
    if not is_statistic(tuning.parsed_measure.column):
        parts["watch"] = _only_logging(parts.get("watch", {}))
    made = experiment(
        {
            "name": asked.name + SUFFIX,
            "question": f"Which settings are best for each variant of {asked.name}?",
            **{key: definition[key] for key in ("logbook",) if key in definition},
            "answer": tuning.measure,
            **parts,
            "grid": grid,
            "cells": distinct,
            "seeds": selection_seeds(definition, tuning.seeds),
            **_halving(tuning, list(definition["grid"])),
        }
    )
    found = {as_text(cell): n for n, cell in enumerate(cells_of(made))}
    places = [
        [found[as_text(cell | settings)] for settings in own]
        for cell, own in zip(cells, trials, strict=True)
    ]
    return Trials(made, places)


def _halving(tuning: Tuning, keys: Sequence[str]) -> dict[str, Any]:
    """The halving of the trials, each among those of the same variant of the tuned experiment."""
    if tuning.halving is None:
        return {}
    return {"halving": {**tuning.halving, "measure": tuning.measure, "within": list(keys)}}


def _in_order(
    rows: Iterable[dict[str, Any]], grid: Mapping[str, Sequence[Any] | Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Cells in the order of the product of a grid, which they have if they are all of it."""
    places = {key: [as_text(label) for label in labels] for key, labels in grid.items()}

    def place(row: Mapping[str, Any]) -> list[int]:
        return [own.index(as_text(row[key])) if key in row else -1 for key, own in places.items()]

    return sorted(rows, key=place)


def _with_few_snapshots(train: Mapping[str, Any]) -> dict[str, Any]:
    """Training settings without the snapshots at steps 1, 2, 4, …: there are many trials."""
    own = train.get("snapshots")
    few = dict(own) if isinstance(own, Mapping) else {}
    return {**train, "snapshots": few | {"logarithmic": False}}


def _only_logging(watch: Any) -> dict[str, Any]:
    """What is watched without statistics, which no trial is judged by."""
    return {"every": watch["every"]} if isinstance(watch, Mapping) and "every" in watch else {}


def asked_tuning(asked: Experiment) -> Tuning:
    """How an experiment that is tuned is tuned."""
    found = tuning_of(asked.definition)
    assert found is not None, "checked by the caller"
    return found


def check_measure(asked: Experiment) -> list[Direction]:
    """Which values of the measure of each variant are better.

    Raises:
        InputError: That is not declared for a variant.
    """
    tuning = asked_tuning(asked)
    measure = tuning.parsed_measure
    if tuning.is_of_steps:
        return ["lower"] * len(asked.variants)
    if measure.direction is not None:
        return [measure.direction] * len(asked.variants)
    known = register(asked)
    found: list[Direction] = []
    for place in range(len(asked.variants)):
        direction = known.direction_of(measure.column, place)
        if direction is None:
            raise InputError(
                Problem(
                    f"whether higher or lower values of {measure.column} are better was not "
                    "declared", "tune.measure", given=measure.text,
                    expected="a measure with a direction, such as best(COLUMN, higher), or a "
                    "declaration by the task (measure_directions)",
                )
            )  # fmt: skip
        found.append(direction)
    return found


def score(values: Sequence[float]) -> float:
    """How good a trial is, from its seeds: their median; infinite if one has no value.

    Args:
        values: A value for each seed: lower ones are better, infinite ones were not reached or have
            diverged.
    """
    return math.inf if any(map(math.isinf, values)) else statistics.median(values)


def best_trial(scores: Sequence[float]) -> int | None:
    """The place of the best trial, the first of equal ones; None if none has a value."""
    place = min(range(len(scores)), key=lambda each: scores[each])
    return None if math.isinf(scores[place]) else place


def tuned_experiment(asked: Experiment, digest: str, settings: Sequence[Settings]) -> Experiment:
    """The experiment with the settings that were found.

    Args:
        asked: The experiment.
        digest: The digest of the experiment of its trials.
        settings: The settings of each variant.
    """
    cells = [
        {"cell": cell, "settings": own} for cell, own in zip(cells_of(asked), settings, strict=True)
    ]
    return experiment(asked.definition | {"tuned": {"by": digest, "cells": cells}})
