"""Foresees where stop rules will end runs, from stored runs of experiments with the same name."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ablab.config.wording import counted
from ablab.experiments.experiment import Experiment
from ablab.store.known_runs import ended_members
from ablab.store.store import Store
from ablab.train.config import StopConfig
from ablab.train.log_steps import next_logged
from ablab.train.run import Run
from ablab.watching.config import WatchConfig

_KEY = "train.stop"
_EARLIER = 2000  # the latest stored runs that are looked at


@dataclass(frozen=True)
class ExpectedStop:
    """Where a stop rule will probably end a run.

    Attributes:
        step: The median step at which like runs ended; without any, the run's last step.
        earliest: The first such step; without any, the first one at which the rule can apply.
        latest: The last such step; if any of the runs was not stopped, its number of steps.
        stopped: How many like runs were stopped.
        like: How many like runs there are.
        variant: The label of their variant, if it is another one.
    """

    step: int
    earliest: int
    latest: int
    stopped: int
    like: int
    variant: str | None = None

    def text(self, steps: int) -> str:
        """In words, for a run of some number of steps."""
        if not self.like:
            return (
                f"may stop anywhere from step {self.earliest:,} to {steps:,}: no like run is "
                "stored, so the time is that of all steps"
            )
        of = "" if self.variant is None else f" of {self.variant}"
        like = f"{counted(self.stopped, 'like run')}{of}"
        rest = self.like - self.stopped
        more = f" ({rest} more {'was' if rest == 1 else 'were'} not stopped)" if rest else ""
        return f"expected to stop near step {self.step:,} of {steps:,}, as {like} did{more}"


@dataclass(frozen=True)
class _Ended:
    """A stored run that was stopped or that reached its last step."""

    cell: dict[str, Any]
    rule: str | None
    step: int
    stopped: bool


def foreseen_stops(asked: Experiment, path: str | Path) -> dict[str, ExpectedStop]:
    """Where stop rules will end the runs of an experiment, by run id; writes nothing.

    These are the :func:`expected_stops`, and for runs without like runs the range in which they may
    stop.

    Args:
        asked: The experiment, which need not be in the store.
        path: The store's folder, which need not exist.
    """
    return _stops(asked, path, unknown=True)


def expected_stops(asked: Experiment, path: str | Path) -> dict[str, ExpectedStop]:
    """Where stop rules will probably end the runs of an experiment, by run id; writes nothing.

    Like runs are those of the same variant, with any seed; without any, those of the most similar
    variant. Their stop rule has to be the same. A run of which at most half of the like runs were
    stopped is not expected to stop. A run that was not stopped counts only if it was trained for as
    many steps.

    Args:
        asked: The experiment, which need not be in the store.
        path: The store's folder, which need not exist.
    """
    return _stops(asked, path, unknown=False)


def _stops(asked: Experiment, path: str | Path, unknown: bool) -> dict[str, ExpectedStop]:
    with_rule = [each for each in asked.variants if each.runs[0].train.stop is not None]
    if not with_rule:
        return {}
    ended = []
    if (Path(path) / "index.sqlite").is_file():
        store = Store(path)
        try:
            ended = _ended(store, asked.name)
        finally:
            store.close()
    found: dict[str, ExpectedStop] = {}
    for variant in with_rule:
        train = variant.runs[0].train
        rule = _rule(train.stop)
        like = [
            each
            for each in ended
            if each.rule == rule and (each.stopped or each.step >= train.steps)
        ]
        cell = asked.recorded_keys(variant)
        stop = _expected(_nearest(cell, like), cell)
        if stop is not None and stop.step < train.steps:
            found |= {run.id: stop for run in variant.runs}
        elif unknown and not like:
            found |= {run.id: _unknown(run) for run in variant.runs}
    return found


def _ended(store: Store, name: str) -> list[_Ended]:
    """The latest runs that ended in experiments with a name."""
    found: dict[tuple[str, str | None], _Ended] = {}
    for each in ended_members(store, name, _EARLIER):
        rule = _stored_rule(each.definition, each.cell)
        ended = _Ended(each.cell, rule, each.step, each.stopped)
        found.setdefault((each.run, rule), ended)
    return list(found.values())


def _stored_rule(definition: Mapping[str, Any], cell: Mapping[str, Any]) -> str | None:
    """The stop rule of a variant of a stored experiment; None if it has none."""
    given = (definition.get("train") or {}).get("stop")
    settings = dict(given) if isinstance(given, dict) else {}
    for key, value in cell.items():
        if key == _KEY:
            settings = dict(value) if isinstance(value, dict) else {}
        elif key.startswith(f"{_KEY}."):
            settings[key.removeprefix(f"{_KEY}.")] = value
    try:
        return _rule(StopConfig.model_validate(settings))
    except ValidationError:
        return None


def _rule(stop: StopConfig | None) -> str | None:
    return None if stop is None else stop.model_dump_json()


def _nearest(cell: Mapping[str, Any], ended: Sequence[_Ended]) -> list[_Ended]:
    """The ended runs of the most similar variant."""

    def distance(other: Mapping[str, Any]) -> float:
        return sum(_difference(other.get(key), cell.get(key)) for key in {*other, *cell})

    cells = [each.cell for each in ended]
    nearest = min(cells, key=distance, default=None)
    return [each for each in ended if each.cell == nearest]


def _difference(a: Any, b: Any) -> float:
    """0 for equal values, 1 for others; between 0.5 and 1 for positive numbers, by their ratio."""
    if a == b:
        return 0.0
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) and x > 0 for x in (a, b))
    return 0.5 + 0.5 * math.tanh(abs(math.log(a / b))) if numbers else 1.0


def _unknown(run: Run) -> ExpectedStop:
    """What is known of a run's end without any like run: when its rule can first apply."""
    train, rule = run.train, run.train.stop
    assert rule is not None, "called for a run with a stop rule"
    assert isinstance(run.watch, WatchConfig), "the runs of an experiment have a watch section"
    values = 1 if rule.below is not None else 1 + (rule.patience or 0)
    step = values * train.evaluate.every
    if rule.measure == "train_loss":
        step = 0
        while values and step < train.steps:
            step, values = next_logged(step, run.watch.every), values - 1
    return ExpectedStop(train.steps, min(train.steps, step), train.steps, 0, 0)


def _expected(like: Sequence[_Ended], cell: Mapping[str, Any]) -> ExpectedStop | None:
    stopped = sum(each.stopped for each in like)
    if 2 * stopped <= len(like):
        return None
    steps = sorted(each.step for each in like)
    other = like[0].cell
    label = None if other == cell else ", ".join(f"{key}={value}" for key, value in other.items())
    middle = round(statistics.median(steps))
    return ExpectedStop(middle, steps[0], steps[-1], stopped, len(like), label)
