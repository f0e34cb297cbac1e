"""Settings of the addition task. Does not import torch."""

import math
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from ablab.tasks.config import TASKS, TaskConfig

MAX_DIGITS = 20
NAMED_TARGETS = {"last": 0, "next_to_last": 1}


@TASKS.register("addition")
class AdditionConfig(TaskConfig):
    """Settings of :class:`ablab.tasks.addition.Addition`."""

    implementation: ClassVar[str] = "ablab.tasks.addition:Addition"

    kind: Literal["addition"] = "addition"
    """This task's name."""
    n_digits: int = Field(3, ge=1, le=MAX_DIGITS)
    """Digits of each operand; the answer has one more."""
    base: int = Field(10, ge=2, le=36)
    """The base that the numbers are written in."""
    order: Literal["most_significant_first", "least_significant_first"] = "most_significant_first"
    """Which digit of a number comes first, in the operands and in the answer."""
    target: Literal["last", "next_to_last", "all"] | int = "last"
    """What is predicted: a digit of the answer counted from the right (0 the last), or all."""

    @field_validator("target", mode="before")
    @classmethod
    def _known_target(cls, value: Any) -> Any:
        if value in ("last", "next_to_last", "all") or (
            isinstance(value, int) and not isinstance(value, bool)
        ):
            return value
        raise ValueError("expected last, next_to_last, all, or a digit counted from the right")

    @model_validator(mode="after")
    def _target_exists(self) -> "AdditionConfig":
        digit = NAMED_TARGETS.get(self.target, 0) if isinstance(self.target, str) else self.target
        if not 0 <= digit <= self.n_digits:
            raise ValueError(
                f"target digit {digit} does not exist: the sum of two {self.n_digits}-digit "
                f"numbers has digits 0 (the last) to {self.n_digits}"
            )
        return self

    @property
    def digits(self) -> tuple[int, ...]:
        """The answer's predicted digits, counted from the right, in the order of prediction."""
        if self.target == "all":
            every = range(self.n_digits + 1)
            return tuple(every if self.order == "least_significant_first" else reversed(every))
        return (NAMED_TARGETS[self.target] if isinstance(self.target, str) else self.target,)

    def identity(self) -> dict[str, Any]:
        """A target is the same digit however it is named."""
        named = self.target if self.target == "all" else self.digits[0]
        return super().identity() | {"target": named}

    @property
    def vocab_size(self) -> int:
        """The digits, ``+`` and ``=``."""
        return self.base + 2

    @property
    def natural_levels(self) -> dict[str, float]:
        """Guessing a digit at random, and choosing between two."""
        return {f"log({self.base})": math.log(self.base), "log(2)": math.log(2)}

    @property
    def input_length(self) -> int:
        """Both operands, ``+``, ``=``, and for target ``all`` the answer but for its last token."""
        question = 2 * self.n_digits + 2
        return question + self.n_digits if self.target == "all" else question
