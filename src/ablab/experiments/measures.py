"""Measures: a number of each run, named by a short text such as ``leaves(log(10))``."""

import math
from dataclasses import dataclass
from typing import Any

from ablab.config import InputError, Problem, nearest
from ablab.experiments.grammar import parse

# What each takes after its name; a column may be left out where the training loss is meant.
FUNCTIONS = {
    "final": "final(COLUMN): the value at the run's end",
    "best": "best(COLUMN): the lowest value, of an accuracy the highest",
    "at": "at(COLUMN, STEP): the value at a step",
    "mean": "mean(COLUMN, FIRST, LAST): the mean over steps",
    "leaves": "leaves(LEVEL[, COLUMN]): the step at which a level is left",
    "steps_to": "steps_to(COLUMN, VALUE): the first step at which a value is reached",
    "lag": "lag(COLUMN, VALUE): steps from the training loss's reaching a value to the column's",
    "floor": "floor(COLUMN): the level at which the curve ends",
    "noise": "noise(COLUMN): the standard deviation of a step's value",
    "spikes": "spikes(COLUMN[, FIRST, LAST]): how many spikes there are, between two steps",
    "growbacks": "growbacks(COLUMN[, FIRST, LAST]): how many rises after a fall begin there",
    "plateaus": "plateaus(COLUMN[, LOW, HIGH]): how many levels are left again, between two values",
    "slowdowns": "slowdowns(COLUMN[, LOW, HIGH]): how often a fall goes on less steeply",
}
WORDS = {
    "diverged": "diverged: 1 where the loss was not finite, else 0",
    "seconds": "seconds: what the run took",
    "n_params": "n_params: the model's parameters",
}
ALIASES = {"loss": "train_loss", "accuracy": "eval_accuracy"}
_NUMBERS = {"at": 1, "mean": 2, "leaves": 1, "steps_to": 1, "lag": 1}
COUNTED = ("spikes", "growbacks", "plateaus", "slowdowns")  # anywhere, or between two numbers


@dataclass(frozen=True)
class Measure:
    """A number of each run.

    Attributes:
        text: The measure as it is written.
        function: One of ``FUNCTIONS``, or a word of ``WORDS``.
        column: The column that it is taken of.
        numbers: Its numbers: a level, steps, a value.
    """

    text: str
    function: str
    column: str
    numbers: tuple[float, ...] = ()

    def __str__(self) -> str:
        return self.text


def parse_measure(text: str, source: str | None = None) -> Measure:
    """The measure that a text names.

    A bare column is its final value; ``COLUMN at STEP`` its value at a step. ``loss`` stands for
    ``train_loss`` and ``accuracy`` for ``eval_accuracy``.

    Args:
        text: Such as ``final(eval_loss)``, ``leaves(log(10))``, ``accuracy``, ``grad_norm at 100``.
        source: Where it was written, for errors.

    Raises:
        InputError: It is no measure.
    """
    return measure_of(parse(text, "measure", "measure", source), text.strip(), source)


def measure_of(tree: Any, text: str, source: str | None = None) -> Measure:
    """The measure of a parse tree; see :func:`parse_measure`."""
    if tree.data == "bare":
        name = str(tree.children[0])
        if name in WORDS:
            return Measure(name, name, "train_loss")
        if name in FUNCTIONS:
            raise _wrong(f"{name} needs its arguments", text, source, FUNCTIONS[name])
        return Measure(text, "final", ALIASES.get(name, name))
    if tree.data == "moment":
        column, step = (str(child) for child in tree.children)
        return Measure(text, "at", ALIASES.get(column, column), (_whole(step, text, source),))
    name = str(tree.children[0])
    if name not in FUNCTIONS:
        known = [*FUNCTIONS, *WORDS]
        raise InputError(
            Problem(
                f"there is no measure {name!r}",
                source=source,
                given=text,
                expected="; ".join([*FUNCTIONS.values(), *WORDS.values(), "or a column's name"]),
                suggestion=nearest(name, known),
            )
        )
    columns, numbers = _arguments(tree.children[1:])
    between = name in COUNTED and len(numbers) == 2
    if len(columns) > 1 or not (between or len(numbers) == _NUMBERS.get(name, 0)):
        raise _wrong(f"{name} has other arguments", text, source, FUNCTIONS[name])
    if not columns and name != "leaves":
        raise _wrong(f"{name} needs a column", text, source, FUNCTIONS[name])
    if between and numbers[0] > numbers[1]:
        raise _wrong("the first number is above the second", text, source, FUNCTIONS[name])
    if name in ("at", "mean"):
        numbers = tuple(_whole(number, text, source) for number in numbers)
    if name == "leaves" and numbers[0] <= 0:
        raise _wrong("a level is above zero", text, source, "a loss such as log(10)")
    column = columns[0] if columns else "train_loss"
    return Measure(text, name, ALIASES.get(column, column), numbers)


def number_of(tree: Any) -> float:
    """The number of a parse tree: itself, or the logarithm of one."""
    value = float(tree.children[0])
    if tree.data != "log":
        return value
    if value <= 0:
        raise InputError(
            Problem(f"log({value:g}) is no number", expected="log of a positive number")
        )
    return math.log(value)


def _arguments(children: list[Any]) -> tuple[list[str], tuple[float, ...]]:
    columns, numbers = [], []
    for child in children:
        (inner,) = child.children
        if hasattr(inner, "data"):
            numbers.append(number_of(inner))
        else:
            columns.append(str(inner))
    return columns, tuple(numbers)


def _whole(value: str | float, text: str, source: str | None) -> float:
    number = float(value)
    if number < 0 or number != int(number):
        raise _wrong(f"{value} is no step", text, source, "a whole number")
    return number


def _wrong(message: str, text: str, source: str | None, expected: str) -> InputError:
    return InputError(Problem(message, source=source, given=text, expected=expected))
