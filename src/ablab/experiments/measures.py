"""Measures: one number per run, written as an expression such as ``leaves(log(10))``."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

from lark import Tree

from ablab.config import InputError, Problem, nearest
from ablab.experiments.grammar import parse
from ablab.experiments.levels import Level, level_of
from ablab.tasks.config import Direction

# The arguments of each function; leaves() uses the training loss by default.
FUNCTIONS = {
    "final": "final(COLUMN): the value at the end of the run",
    "best": "best(COLUMN[, higher | lower]): the best value, in the direction that is better",
    "highest": "highest(COLUMN): the highest value",
    "at": "at(COLUMN, STEP): the value at a step",
    "mean": "mean(COLUMN, FIRST, LAST): the mean over a range of steps",
    "leaves": "leaves(LEVEL[, COLUMN]): the step at which the curve leaves a level",
    "steps_to": "steps_to(COLUMN, VALUE[, higher | lower]): the first step at which the curve "
    "reaches a value",
    "lag": "lag(COLUMN, VALUE[, higher | lower]): steps between train_loss and COLUMN reaching a "
    "value",
    "lead": "lead(COLUMN, OTHER): steps by which COLUMN is half-way through its last change before "
    "OTHER is",
    "floor": "floor(COLUMN): the level at which the curve ends",
    "transition": "transition(COLUMN): the step at which half of the change from one level to "
    "another is done, for the largest such change",
    "noise": "noise(COLUMN): the standard deviation of the value at a step",
    "spikes": "spikes(COLUMN[, FIRST, LAST]): the number of spikes, optionally in a range of steps",
    "growbacks": "growbacks(COLUMN[, FIRST, LAST]): the number of rises after a fall",
    "plateaus": "plateaus(COLUMN[, LOW, HIGH]): the number of plateaus, optionally in a range",
    "slowdowns": "slowdowns(COLUMN[, LOW, HIGH]): how often a fall suddenly becomes less steep",
}
WORDS = {
    "diverged": "diverged: 1 if the loss became non-finite, otherwise 0",
    "seconds": "seconds: the training time of the run",
    "n_params": "n_params: the number of parameters",
}
ALIASES = {"loss": "train_loss", "accuracy": "eval_accuracy"}
DIRECTED = ("best", "steps_to", "lag")  # those that depend on which values are better
VALUES = ("final", "best", "highest", "at", "mean", "floor")  # those that are values of the column
STEPS = ("leaves", "steps_to", "lag", "transition")  # those that a run may not have reached
_DURING = ("highest", "at", "mean")  # values that do not tell where a run came to
_NUMBERS = {"at": 1, "mean": 2, "leaves": 1, "steps_to": 1, "lag": 1}
_WITH_LEVELS = ("leaves", "steps_to", "lag", "plateaus", "slowdowns")  # a level can be a setting
COUNTED = ("spikes", "growbacks", "plateaus", "slowdowns")  # counts, optionally between two bounds
_ROW_COLUMNS = ("run", "experiment", "seed", "step")
_MAX_STEP = 10**12


def is_of_end(measure: str) -> bool:
    """Whether a measure, as written, is of where a run came to, so that it tells which learnt.

    Of a name of values that is no measure, this is not known, and it counts as one.
    """
    try:
        return parse_measure(measure).is_end
    except InputError:
        return True


def is_count(measure: str) -> bool:
    """Whether a measure, as written, is a count, such as that of spikes."""
    try:
        return parse_measure(measure).function in COUNTED
    except InputError:
        return False


def is_of_steps(measure: str) -> bool:
    """Whether a measure, as written, is a step; False for a name of values that is no measure."""
    try:
        return parse_measure(measure).function in STEPS
    except InputError:
        return False


@dataclass(frozen=True)
class Measure:
    """A number for each run.

    Attributes:
        text: The measure as written.
        function: One of ``FUNCTIONS`` or ``WORDS``.
        column: The column that it is computed from.
        numbers: The numeric arguments: a level, steps, a value.
        direction: Which values are better, if the measure says so itself; else what the task or
            the statistic declares counts.
        other: The second column of ``lead``.
        levels: For each of ``numbers``, the setting that it depends on, or None; empty if none
            does. A number that depends on a setting is NaN until ``resolved`` is called.
    """

    text: str
    function: str
    column: str
    numbers: tuple[float, ...] = ()
    direction: Direction | None = None
    other: str | None = None
    levels: tuple[Level | None, ...] = ()

    def __str__(self) -> str:
        return self.text

    @property
    def is_end(self) -> bool:
        """Whether it is of where a run came to, so that it tells which runs learnt."""
        return self.function not in (*_DURING, *STEPS)

    def resolved(self, settings: Mapping[str, Any]) -> "Measure":
        """The measure with the levels of one run.

        Args:
            settings: The settings of the run, as nested mappings.

        Raises:
            InputError: A level is a setting that does not exist or is not a number, or it cannot be
                a level.
        """
        if not self.levels:
            return self
        numbers = tuple(
            number if level is None else level.value(settings, self.text)
            for number, level in zip(self.numbers, self.levels, strict=True)
        )
        _check_level(self.function, numbers, self.text, None)
        return replace(self, numbers=numbers, levels=())


def check_column(name: str, source: str | None = None) -> None:
    """Rejects columns of the metrics that say which row it is, and so are no values of a run.

    Raises:
        InputError: The column is one of these.
    """
    if name in _ROW_COLUMNS:
        raise InputError(
            Problem(
                f"{name} says which row of the metrics it is; it is not a value of a run",
                source=source,
                given=name,
                expected="a column of values, such as train_loss",
            )
        )


def parse_measure(text: str, source: str | None = None) -> Measure:
    """Parses a measure.

    A column alone means its final value, ``COLUMN at STEP`` its value at a step. ``loss`` is short
    for ``train_loss``, and ``accuracy`` for ``eval_accuracy``.

    Args:
        text: Such as ``final(eval_loss)``, ``leaves(log(10))``, ``accuracy``, ``grad_norm at 100``.
        source: Where it was written, for errors.

    Raises:
        InputError: The text is not a measure.
    """
    return measure_of(parse(text, "measure", "measure", source), text.strip(), source)


def measure_of(tree: Any, text: str, source: str | None = None) -> Measure:
    """The measure for a parse tree; see :func:`parse_measure`."""
    if tree.data == "bare":
        name = str(tree.children[0])
        if name in WORDS:
            return Measure(name, name, "train_loss")
        if name in FUNCTIONS:
            raise _wrong(f"{name} needs arguments", text, source, FUNCTIONS[name])
        check_column(name, source)
        return Measure(text, "final", ALIASES.get(name, name))
    if tree.data == "moment":
        column, step = (str(child) for child in tree.children)
        check_column(column, source)
        return Measure(text, "at", ALIASES.get(column, column), (_step(step, text, source),))
    name = str(tree.children[0])
    if name not in FUNCTIONS:
        known = [*FUNCTIONS, *WORDS]
        raise InputError(
            Problem(
                f"there is no measure {name!r}",
                source=source,
                given=text,
                expected="; ".join(
                    [*FUNCTIONS.values(), *WORDS.values(), "or the name of a column"]
                ),
                suggestion=nearest(name, known),
            )
        )
    return _call(name, tree, text, source)


def _call(name: str, tree: Any, text: str, source: str | None) -> Measure:
    """The measure of a function with its arguments."""
    columns, numbers, levels = _arguments(tree.children[1:], source)
    direction: Direction | None = None
    if name in DIRECTED and len(columns) == 2 and columns[1] in get_args(Direction):
        direction = cast(Direction, columns.pop())
    other = columns.pop() if name == "lead" and len(columns) == 2 else None
    between = name in COUNTED and len(numbers) == 2
    if len(columns) > 1 or not (between or len(numbers) == _NUMBERS.get(name, 0)):
        raise _wrong(f"wrong arguments for {name}", text, source, FUNCTIONS[name])
    if not columns and name != "leaves":
        raise _wrong(f"{name} needs a column", text, source, FUNCTIONS[name])
    if len(numbers) == 2 and numbers[0] > numbers[1]:
        raise _wrong("the first number is greater than the second", text, source, FUNCTIONS[name])
    if levels and name not in _WITH_LEVELS:
        raise _wrong(f"{name} cannot depend on a setting", text, source, FUNCTIONS[name])
    if name in ("at", "mean"):
        numbers = tuple(_step(number, text, source) for number in numbers)
    _check_level(name, numbers, text, source)
    if name == "lead" and other is None:
        raise _wrong("lead needs two columns", text, source, FUNCTIONS[name])
    column = columns[0] if columns else "train_loss"
    for each in (column, other):
        if each is not None:
            check_column(each, source)
    other = None if other is None else ALIASES.get(other, other)
    return Measure(text, name, ALIASES.get(column, column), numbers, direction, other, levels)


def _check_level(name: str, numbers: tuple[float, ...], text: str, source: str | None) -> None:
    """Rejects a level to leave that is not positive."""
    if name == "leaves" and numbers[0] <= 0:
        raise _wrong("a level must be positive", text, source, "a loss such as log(10)")


def number_of(tree: Any) -> float:
    """The value of a number or a logarithm in a parse tree."""
    value = float(tree.children[0])
    if not math.isfinite(value):
        raise InputError(
            Problem("a number is too large", given=str(tree.children[0]), expected="below 1e308")
        )
    if tree.data != "log":
        return value
    if value <= 0:
        raise InputError(
            Problem(f"log({value:g}) is not a number", expected="log of a positive number")
        )
    return math.log(value)


def _arguments(
    children: list[Any], source: str | None
) -> tuple[list[str], tuple[float, ...], tuple[Level | None, ...]]:
    """The columns, the numbers (NaN for a setting), and the settings; these may be none."""
    columns, numbers, levels = list[str](), list[float](), list[Level | None]()
    for child in children:
        (inner,) = child.children
        level = level_of(inner, source)
        if level is not None:
            numbers.append(math.nan)
        elif isinstance(inner, Tree):
            numbers.append(number_of(inner))
        else:
            columns.append(str(inner))
            continue
        levels.append(level)
    known = tuple(levels) if any(levels) else ()
    return columns, tuple(numbers), known


def _step(value: str | float, text: str, source: str | None) -> float:
    number = float(value)
    if not 0 <= number <= _MAX_STEP or number != int(number):
        raise _wrong(f"{value} is not a step", text, source, f"a whole number up to {_MAX_STEP:,}")
    return number


def _wrong(message: str, text: str, source: str | None, expected: str) -> InputError:
    return InputError(Problem(message, source=source, given=text, expected=expected))
