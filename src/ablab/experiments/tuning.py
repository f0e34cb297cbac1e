"""Tuning: each variant is trained at its own best settings, found on seeds of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

from ablab.config import InputError, Problem, counted, nearest
from ablab.experiments.axes import Axis, SweepContext, check_key
from ablab.experiments.grid import overlap
from ablab.experiments.halving import read_halving
from ablab.experiments.header import NAME_RULE, is_name
from ablab.experiments.limits import MAX_RUNS
from ablab.experiments.measures import STEPS, VALUES, Measure, parse_measure
from ablab.experiments.overrides import parse_values
from ablab.experiments.seeds import settling_of
from ablab.experiments.sweeps import DRAWN, Bounds, Sweep
from ablab.experiments.tree import Origins

Search = Literal["sobol", "random", "optuna"]
"""How settings are chosen: a Sobol sequence, random points, or Optuna's sampler."""

SUFFIX = ".tuning"
"""The experiment NAME is tuned by the runs of the experiment NAME.tuning."""

_KEYS = ("over", "trials", "seeds", "measure", "search", "halving")
_FORM = "tune: {over: {train.lr: loguniform(1e-4, 3e-2)}, trials: 16, seeds: 2}"
_FIRST_SEED = 1_000_000_000  # far from the seeds that people choose


@dataclass(frozen=True)
class TunedRange:
    """The range of a tuned setting.

    Attributes:
        bounds: Its ends, and whether values are drawn evenly in their logarithm.
        whole: Whether the values are whole numbers.
        text: The range as it was written.
    """

    bounds: Bounds
    whole: bool
    text: str


@dataclass(frozen=True)
class Tuning:
    """How the settings of each variant are chosen before it is trained for the report.

    Attributes:
        over: The range of each tuned setting, by key.
        trials: The number of settings that are tried for each variant.
        seeds: The number of seeds on which a trial is judged.
        measure: The measure that is best at the chosen settings.
        search: How settings are chosen.
        halving: The rungs after which the worse trials of a variant are paused, and the share that
            goes on (:mod:`ablab.experiments.halving`); None if all are trained to their end.
    """

    over: Mapping[str, TunedRange]
    trials: int = 16
    seeds: int = 2
    measure: str = "final(eval_loss)"
    search: Search = "sobol"
    halving: Mapping[str, Any] | None = None

    def as_data(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "over": {key: each.text for key, each in self.over.items()},
            "trials": self.trials,
            "seeds": self.seeds,
            "measure": self.measure,
            "search": self.search,
            **({} if self.halving is None else {"halving": dict(self.halving)}),
        }

    @property
    def parsed_measure(self) -> Measure:
        """The measure, parsed."""
        return parse_measure(self.measure)

    @property
    def is_of_steps(self) -> bool:
        """Whether the measure is a step, of which fewer are better."""
        return self.parsed_measure.function in STEPS


def read_tuning(
    value: Any, axes: Sequence[Axis], context: SweepContext, origins: Origins
) -> Tuning | None:
    """How an experiment is tuned; None if it is not.

    Args:
        value: The value of ``tune:``.
        axes: The axes of the grid.
        context: What the values of ranges depend on.
        origins: The sources of the settings.

    Raises:
        InputError: It is invalid; all problems are listed.
    """
    if value is None:
        return None
    source = origins.of(("tune",))
    if not isinstance(value, Mapping):
        raise InputError(Problem("tune is not a mapping of settings", "tune", source, value, _FORM))
    problems = [
        Problem(
            f"tune.{key} is not a setting", f"tune.{key}", origins.of(("tune", str(key))),
            value[key], ", ".join(_KEYS), nearest(str(key), _KEYS),
        )
        for key in value
        if key not in _KEYS
    ]  # fmt: skip
    over: dict[str, TunedRange] = {}
    ranges = value.get("over")
    if not isinstance(ranges, Mapping) or not ranges:
        given = "nothing" if ranges is None else ranges
        problems.append(
            Problem("tune.over has no ranges", "tune.over", origins.of(("tune", "over")), given,
                    "the range of each setting, such as {train.lr: loguniform(1e-4, 3e-2)}")
        )  # fmt: skip
        ranges = {}
    for key, given in ranges.items():
        try:
            over[key] = _read_range(key, given, axes, context, origins)
        except InputError as error:
            problems += error.problems
    counts = {}
    for name, default, what in (("trials", 16, "trials"), ("seeds", 2, "seeds")):
        count = counts[name] = value.get(name, default)
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_RUNS:
            place = origins.of(("tune", name))
            expected = f"a number of {what} from 1"
            problems.append(
                Problem(f"tune.{name} has a wrong value", f"tune.{name}", place, count, expected)
            )
    measure, search = value.get("measure", Tuning.measure), value.get("search", Tuning.search)
    halving = None
    try:
        measure = _read_measure(measure, origins.of(("tune", "measure")))
        halving = _read_halving(value.get("halving"), measure, search, origins)
        if halving is not None and counts["trials"] == 1:
            what, place = "tune.halving has one trial, of which none can be paused", "tune.halving"
            problems.append(Problem(what, place, source, 1, "tune.trials: 2 or more"))
    except InputError as error:
        problems += error.problems
    if search not in get_args(Search):
        place, expected = origins.of(("tune", "search")), "one of " + ", ".join(get_args(Search))
        problems.append(
            Problem("tune.search has a wrong value", "tune.search", place, search, expected,
                    nearest(str(search), get_args(Search)))
        )  # fmt: skip
    if not is_name(context.name + SUFFIX) and is_name(context.name):
        problems.append(
            Problem("the name is too long for the name of its trials", "name",
                    origins.of(("name",)), context.name, f"NAME{SUFFIX}: {NAME_RULE}")
        )  # fmt: skip
    if problems:
        raise InputError(*problems)
    return Tuning(over, counts["trials"], counts["seeds"], measure, cast(Search, search), halving)


def _read_range(
    key: Any, given: Any, axes: Sequence[Axis], context: SweepContext, origins: Origins
) -> TunedRange:
    """The range of a tuned setting."""
    source = origins.of(("tune", "over", str(key)))
    check_key(key, source)
    for axis in axes:
        if any(overlap(key, path) for choice in axis.choices for path, _ in choice.assignments):
            what = "is an axis of the grid" if axis.key == key else f"is set by the axis {axis.key}"
            raise InputError(
                Problem(f"tune.over: {key} {what}", f"tune.over.{key}", source, str(given),
                        "settings that the grid does not set")
            )  # fmt: skip
    found = parse_values(given, key, source) if isinstance(given, str) else given
    if not isinstance(found, Sweep) or found.kind not in DRAWN:
        expected = "loguniform(lo, hi) or uniform(lo, hi)"
        problem = f"tune.over: {key} has no range"
        raise InputError(Problem(problem, f"tune.over.{key}", source, given, expected))
    bounds, whole = context.bounds(found, key, source, counted=False)
    return TunedRange(bounds, whole, str(found))


def _read_halving(value: Any, measure: Any, search: Any, origins: Origins) -> dict[str, Any] | None:
    """The halving of trials, without what tuning says of them; None if there is none.

    Raises:
        InputError: It is invalid, or does not go with the measure or the search.
    """
    if value is None:
        return None
    source = origins.of(("tune", "halving"))
    own = ("measure", "within")  # which tuning decides
    for key in own if isinstance(value, Mapping) else ():
        if key in value:
            what, place = f"tune.halving.{key} is not a setting", f"tune.halving.{key}"
            expected = "rungs, or first and factor, and keep; trials are compared by tune.measure"
            raise InputError(Problem(what, place, source, value[key], expected))
    if search == "optuna":
        what = "tune.halving does not go with search: optuna, which learns from complete trials"
        raise InputError(Problem(what, "tune.halving", source, value, "search: sobol or random"))
    asked = dict(value) | {"measure": measure} if isinstance(value, Mapping) else value
    try:
        found: dict[str, Any] = read_halving(asked, Origins())["halving"]
    except InputError as error:
        raise InputError(
            *(
                replace(
                    each,
                    message=each.message.replace("halving", "tune.halving", 1),
                    key=f"tune.{each.key}",
                    source=source,
                )
                for each in error.problems
            )
        ) from error
    return {key: each for key, each in found.items() if key != "measure"}


def _read_measure(given: Any, source: str | None) -> str:
    """The measure, which has better values: a column's, or a step."""
    expected = (
        "a value or a step of a column, such as final(eval_loss), best(eval_accuracy, higher)"
    )
    if not isinstance(given, str):
        raise InputError(
            Problem("tune.measure is not a measure", "tune.measure", source, given, expected)
        )
    found = parse_measure(given, source)
    if found.function not in (*VALUES, *STEPS):
        problem = f"tune.measure: no values of {found.function} are better than others"
        raise InputError(Problem(problem, "tune.measure", source, given, expected))
    return found.text


def tuning_of(definition: Mapping[str, Any]) -> Tuning | None:
    """How a stored experiment is tuned; None if it is not.

    Args:
        definition: The experiment as plain data.
    """
    context = SweepContext(str(definition.get("name")), definition)
    return read_tuning(definition.get("tune"), (), context, Origins())


def selection_seeds(definition: Mapping[str, Any], count: int) -> list[int]:
    """Seeds for the trials of an experiment, which are none of those that it reports.

    Args:
        definition: The experiment as plain data.
        count: The number of seeds.
    """
    settling = settling_of(definition)
    reported = set(definition["seeds"] if settling is None else range(settling.last))
    found: list[int] = []
    seed = _FIRST_SEED
    while len(found) < count:
        if seed not in reported:
            found.append(seed)
        seed += 1
    return found


def tuning_text(tuning: Tuning | None, variants: int) -> str:
    """What tuning adds to the runs of an experiment, in words; empty without tuning."""
    if tuning is None:
        return ""
    runs = variants * tuning.trials * tuning.seeds
    keys = " and ".join(tuning.over)
    halved = "" if tuning.halving is None else ", the worse of which are paused early"
    return (
        f"\ntuned before over {keys}: {counted(tuning.trials, 'trial')} of "
        f"{counted(variants, 'variant')}, {counted(tuning.seeds, 'seed')}: "
        f"{counted(runs, 'run')}{halved}"
    )
