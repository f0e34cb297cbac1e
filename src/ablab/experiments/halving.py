"""Successive halving over the variants of an experiment: at which steps, and how many go on.

Jamieson and Talwalkar, 2016, https://arxiv.org/abs/1502.07943. Here, the variants that do not go on
are paused: their runs keep their snapshots, and resume where the same experiment has no halving.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ablab.config import InputError, Problem, nearest
from ablab.experiments.axes import as_text
from ablab.experiments.declared import declared
from ablab.experiments.measures import parse_measure
from ablab.experiments.tree import Origins
from ablab.tasks.config import LOSSES, Direction

if TYPE_CHECKING:
    from ablab.experiments.experiment import Experiment
    from ablab.experiments.variant import Variant

MEASURE = "final(eval_loss)"
MEASURED = ("final", "best")  # what a run can be judged by: values that are known at every rung
_KEYS = ("rungs", "first", "factor", "keep", "measure", "within")
_EXAMPLE = "{rungs: [1000, 3000], keep: 1/3} or {first: 1000, factor: 3}"


@dataclass(frozen=True)
class Halving:
    """Successive halving: after each rung, a share of the variants goes on.

    Attributes:
        keep: The share of the variants that go on after a rung, as written (``1/3`` or ``0.5``).
        measure: The measure by which a run is judged, up to the step of the rung.
        rungs: The steps of the rungs, ascending; empty if ``first`` and ``factor`` give them.
        first: The step of the first rung, if ``rungs`` is empty.
        factor: By what factor each further rung comes later.
        within: Keys of the grid: variants with the same values of these are compared with each
            other only, and the share of each such group goes on. Without keys, all are one group.
    """

    keep: str
    measure: str = MEASURE
    rungs: tuple[int, ...] = ()
    first: int = 0
    factor: int = 0
    within: tuple[str, ...] = ()

    def steps(self, last: int) -> tuple[int, ...]:
        """The steps of the rungs of runs with ``last`` steps, ascending; all are before that."""
        if self.rungs:
            return tuple(step for step in self.rungs if step < last)
        found, step = [], self.first
        while step < last:
            found.append(step)
            step *= self.factor
        return tuple(found)

    def going_on(self, variants: int) -> int:
        """How many of some variants go on after a rung: the share, rounded down, at least one."""
        return max(1, int(Fraction(self.keep) * variants))

    def groups(self, cells: Sequence[Mapping[str, Any]]) -> list[list[int]]:
        """The groups of variants that are compared with each other, as places in the grid.

        Args:
            cells: The value of each key of the grid, of each variant.
        """
        found: dict[str, list[int]] = {}
        for place, cell in enumerate(cells):
            found.setdefault(as_text([cell.get(key) for key in self.within]), []).append(place)
        return list(found.values())

    def run_steps(self, last: int, variants: int, seeds: int) -> tuple[int, int]:
        """The least and the greatest number of steps of a group of variants, summed over runs.

        The least is that of the planned shares; the greatest is that of the full grid, which is
        trained where the runs that would be paused are on plateaus that others have left.

        Args:
            last: The number of steps of each run.
            variants: The number of variants.
            seeds: The number of seeds of each.
        """
        least, before, left = 0, 0, variants
        for step in self.steps(last):
            least, before, left = least + left * (step - before), step, self.going_on(left)
        return seeds * (least + left * (last - before)), seeds * variants * last

    def as_data(self) -> dict[str, Any]:
        """As plain data, which :func:`read_halving` reads again."""
        if self.rungs:
            where: dict[str, Any] = {"rungs": list(self.rungs)}
        else:
            where = {"first": self.first, "factor": self.factor}
        within = {"within": list(self.within)} if self.within else {}
        return where | {"keep": self.keep, "measure": self.measure} | within


def halving_of(definition: Mapping[str, Any]) -> Halving | None:
    """The halving of an experiment's definition; None if it has none.

    Raises:
        InputError: It is not what :func:`read_halving` has written.
    """
    found = read_halving(definition.get("halving"), Origins()).get("halving")
    if found is None:
        return None
    lists = {key: tuple(found.get(key, ())) for key in ("rungs", "within")}
    return Halving(**found | lists)


def read_halving(value: Any, origins: Origins) -> dict[str, Any]:
    """The halving of an experiment, as ``{"halving": settings}``; empty if it has none.

    What depends on the variants is checked by :func:`check_halving`.

    Raises:
        InputError: It is not a mapping, has an unknown key, or a setting has a wrong value.
    """
    if value is None:
        return {}
    source = origins.of(("halving",))
    if not isinstance(value, Mapping):
        what = "halving is not a mapping of settings"
        raise InputError(Problem(what, "halving", source, value, _EXAMPLE))
    problems = [
        Problem(
            f"halving.{key} is not a setting", f"halving.{key}", source, value[key],
            "one of " + ", ".join(_KEYS), nearest(str(key), _KEYS),
        )
        for key in value
        if key not in _KEYS
    ]  # fmt: skip
    rungs: Any = value.get("rungs")
    first: Any = value.get("first")
    factor: Any = value.get("factor", 3)
    by_factor = "first" in value or "factor" in value
    if by_factor and rungs is not None:
        what = "halving has both rungs, and first and factor"
        problems.append(Problem(what, "halving", source, dict(value), _EXAMPLE))
    elif by_factor:
        if not _is_count(first) or first < 1:
            given = "nothing" if first is None else first
            expected = "the step of the first rung, from 1"
            problems.append(
                Problem("halving.first has a wrong value", "halving.first", source, given, expected)
            )
        if not _is_count(factor) or factor < 2:
            expected = "a whole number from 2"
            problems.append(
                Problem(
                    "halving.factor has a wrong value", "halving.factor", source, factor, expected
                )
            )
    elif not _are_rungs(rungs):
        given = "nothing" if rungs is None else rungs
        expected = "a list of steps in increasing order, such as [1000, 3000]"
        problems.append(
            Problem("halving.rungs has a wrong value", "halving.rungs", source, given, expected)
        )
    default = f"1/{factor}" if by_factor and _is_count(factor) and factor > 1 else "1/3"
    keep = _share(value.get("keep", default))
    if keep is None:
        expected = "a share above 0 and below 1, such as 1/3 or 0.5"
        given = value["keep"]
        problems.append(
            Problem("halving.keep has a wrong value", "halving.keep", source, given, expected)
        )
    measure, within = value.get("measure", MEASURE), value.get("within", [])
    problems += _measure_problems(measure, source)
    if not isinstance(within, list) or not all(isinstance(key, str) for key in within):
        what, expected = "halving.within is not a list", "keys of the grid, such as [model.d_model]"
        problems.append(Problem(what, "halving.within", source, within, expected))
    if problems:
        raise InputError(*problems)
    assert keep is not None, "checked above"
    where: dict[str, Any] = {"rungs": tuple(rungs or ())}
    if by_factor:
        where = {"first": first, "factor": factor}
    made = Halving(keep, parse_measure(measure).text, **where, within=tuple(within))
    return {"halving": made.as_data()}


def check_halving(asked: "Experiment") -> None:
    """Checks halving against the variants of an experiment, whose data have been read.

    Raises:
        InputError: There is nothing to choose from, a rung (of the variants, or of the trials of
            an experiment that is tuned) is not before the last step, or it is not declared which
            values of the measure are better.
    """
    trials = halving_of(asked.definition.get("tune") or {})
    if trials is not None and not any(map(_changes_steps, asked.definition["tune"]["over"])):
        _check_rungs(trials, asked, "tune.halving")
    halving = halving_of(asked.definition)
    if halving is None:
        return
    if asked.settling is not None:
        raise InputError(
            Problem(
                "halving cannot be combined with seeds that are added until questions are settled",
                "halving",
                expected="a fixed number of seeds, such as seeds: 5; or no halving",
            )
        )
    if len(asked.variants) < 2:
        what = "halving needs at least two variants, of which some go on"
        raise InputError(Problem(what, "halving", given=len(asked.variants), expected="a grid"))
    _check_rungs(halving, asked, "halving")
    keys = [str(key) for key in asked.definition["grid"]]
    for key in halving.within:
        if key not in keys:
            what, near = f"halving.within: {key} is no key of the grid", nearest(key, keys)
            expected = "one of " + ", ".join(keys)
            raise InputError(Problem(what, "halving.within", None, key, expected, near))
    measure = parse_measure(halving.measure)
    for variant in asked.variants if measure.direction is None else ():
        if _direction(variant, measure.column) is None:
            start = f"best({measure.column}, "
            raise InputError(
                Problem(
                    f"whether higher or lower values of {measure.column} are better was not "
                    "declared",
                    "halving.measure",
                    given=halving.measure,
                    expected=f"{start}higher) or {start}lower), or a declaration by the task "
                    "(measure_directions)",
                )
            )


def _changes_steps(key: str) -> bool:
    """Whether the number of steps may depend on a setting, as on that of epochs."""
    return key.startswith("task.") or key in ("train.steps", "train.epochs", "train.batch_size")


def _check_rungs(halving: Halving, asked: "Experiment", place: str) -> None:
    """Checks that the rungs are before the last step of every run; ``place`` is their setting's."""
    last = min(variant.parts.train.steps for variant in asked.variants)
    late = [step for step in halving.rungs if step >= last] or (
        [halving.first] if not halving.rungs and halving.first >= last else []
    )
    if late:
        key = f"{place}.rungs" if halving.rungs else f"{place}.first"
        message = f"a rung at step {late[0]:,} is not before the last step of every run"
        raise InputError(Problem(message, key, given=late[0], expected=f"steps below {last:,}"))


def _direction(variant: "Variant", column: str) -> Direction | None:
    return declared(column, LOSSES | dict(variant.parts.task.measure_directions))


def _measure_problems(value: Any, source: str | None) -> list[Problem]:
    expected = "final(COLUMN) or best(COLUMN), such as final(eval_loss)"
    if not isinstance(value, str):
        what = "halving.measure is not a measure"
        return [Problem(what, "halving.measure", source, value, expected)]
    try:
        measure = parse_measure(value, source)
    except InputError as error:
        return list(error.problems)
    if measure.function in MEASURED:
        return []
    what = f"{measure.function} is not known at every rung, so runs cannot be judged by it"
    return [Problem(what, "halving.measure", source, value, expected)]


def _share(value: Any) -> str | None:
    """A share as text; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = str(value).replace(" ", "")
    try:
        share = Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None
    return text if 0 < share < 1 else None


def _are_rungs(value: Any) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        return False
    if not all(_is_count(step) and step >= 1 for step in value):
        return False
    return all(one < other for one, other in pairwise(value))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
