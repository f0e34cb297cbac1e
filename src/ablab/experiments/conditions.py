"""Conditions on the outcome of a run, such as ``leaves(log(10)) is reached``."""

from dataclasses import dataclass
from typing import Any, Literal, cast

from ablab.config import InputError, Problem
from ablab.experiments.grammar import parse
from ablab.experiments.measures import STEPS, Measure, measure_of, number_of

Kind = Literal["reached", "below", "above"]


@dataclass(frozen=True)
class Condition:
    """A condition on a measure of a run.

    Attributes:
        measure: The measure.
        kind: ``reached``, for a step; or whether the value is ``below`` or ``above`` a number.
        number: The number; None for ``reached``.
    """

    measure: Measure
    kind: Kind
    number: float | None = None

    @property
    def text(self) -> str:
        """The condition as text that :func:`parse_condition` can parse."""
        number = "" if self.number is None else f" {self.number!r}".removesuffix(".0")
        return f"{self.measure.text} is {self.kind}{number}"

    def holds(self, value: float | None, not_before: float | None) -> bool | None:
        """Whether a measured value meets it; None if that is not known.

        A step that was not reached by step n is not below a number up to n, and whether it is below
        a later one is not known.

        Args:
            value: The number; None if there is none.
            not_before: The last step at which a step was looked for that was not reached.
        """
        if self.kind == "reached":
            return None if value is None and not_before is None else value is not None
        assert self.number is not None, "given for these kinds"
        if value is not None:
            return value < self.number if self.kind == "below" else value > self.number
        if not_before is None or not_before < self.number:
            return None
        return self.kind == "above"


def parse_condition(text: str, source: str | None = None) -> Condition:
    """Parses a condition: ``M is reached``, ``M is below 2``, ``M is above 2``.

    Args:
        text: The condition.
        source: Where it was written, for errors.

    Raises:
        InputError: The text is not a condition, or ``reached`` is said of what is not a step.
    """
    return condition_of(parse(text, "condition", "condition", source), text, source)


def condition_of(tree: Any, text: str, source: str | None = None) -> Condition:
    """The condition for a parse tree of a text; see :func:`parse_condition`."""
    measure, relation = tree.children
    written = text[measure.meta.start_pos : measure.meta.end_pos].strip()
    found = measure_of(measure, written, source)
    kind = cast(Kind, str(relation.data).removesuffix("_number"))
    if kind != "reached":
        return Condition(found, kind, number_of(relation.children[0]))
    if found.function not in STEPS:
        raise InputError(
            Problem(
                f"{written} is not a step that can be reached",
                source=source,
                given=text,
                expected=f"one of {', '.join(STEPS)}; or is below, is above",
            )
        )
    return Condition(found, kind)
