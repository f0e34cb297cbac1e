"""Settings of the addition task. Does not import torch."""

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from ablab.config import Neutral, counted
from ablab.tasks.config import ACCURACIES, ACCURACY_LIMITS, TASKS, Direction, Limits, TaskConfig
from ablab.tasks.factors import NO_YES
from ablab.tasks.split import Split

MAX_DIGITS = 20
MAX_CASCADE = 3  # longer cascades are in the same class
NAMED_TARGETS = {"last": 0, "next_to_last": 1}


@TASKS.register("addition")
class AdditionConfig(TaskConfig):
    """Settings of :class:`ablab.tasks.addition.Addition`."""

    implementation: ClassVar[str] = "ablab.tasks.addition:Addition"
    measure_directions: ClassVar[dict[str, Direction]] = ACCURACIES
    measure_limits: ClassVar[dict[str, Limits]] = ACCURACY_LIMITS | {
        "offset": (0.0, 1.0),
        "probability": (0.0, 1.0),
    }

    kind: Literal["addition"] = "addition"
    """This task's name."""
    n_digits: int = Field(3, ge=1, le=MAX_DIGITS)
    """Digits of each operand; the answer has one more. With ``max_value``, the digits it needs."""
    base: int = Field(10, ge=2, le=36)
    """The base of the number system."""
    order: Literal["most_significant_first", "least_significant_first"] = "most_significant_first"
    """The order of digits, in operands and answers."""
    target: Literal["last", "next_to_last", "all"] | int = "last"
    """The predicted digit of the answer, counted from the right (0 is the last), or all digits."""
    max_value: Annotated[int | None, Field(ge=1, lt=2**32), Neutral(None)] = None
    """Operands are uniform from 0 to this value. null: any number of ``n_digits`` digits."""
    held_out: Annotated[float, Field(ge=0, lt=1), Neutral(0.0)] = 0.0
    """The held-out share of problems. 0: evaluation problems are drawn as in training."""

    @field_validator("target", mode="before")
    @classmethod
    def _known_target(cls, value: Any) -> Any:
        if value in ("last", "next_to_last", "all") or (
            isinstance(value, int) and not isinstance(value, bool)
        ):
            return value
        raise ValueError("expected last, next_to_last, all, or a digit counted from the right")

    @model_validator(mode="before")
    @classmethod
    def _digits_left_open(cls, data: Any) -> Any:
        """Treats ``n_digits: null`` as if it were not given."""
        if isinstance(data, dict) and data.get("n_digits", 0) is None:
            return {key: value for key, value in data.items() if key != "n_digits"}
        return data

    @model_validator(mode="after")
    def _digits_hold_the_largest(self) -> "AdditionConfig":
        if self.max_value is None:
            return self
        needed = next(n for n in range(1, 33) if self.base**n > self.max_value)
        if needed > MAX_DIGITS:
            raise ValueError(
                f"max_value {self.max_value} has {needed} digits in base {self.base}; at most "
                f"{MAX_DIGITS} are possible"
            )
        if "n_digits" not in self.model_fields_set:
            object.__setattr__(self, "n_digits", needed)  # bypass the frozen model
        if self.n_digits != needed:
            raise ValueError(
                f"max_value {self.max_value} has {counted(needed, 'digit')} in base {self.base}, "
                f"but n_digits is {self.n_digits}: set n_digits: null"
            )
        return self

    @model_validator(mode="after")
    def _problems_can_be_split(self) -> "AdditionConfig":
        problem = self.split.problem()
        if problem is not None:
            raise ValueError(problem)
        return self

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
    def split(self) -> Split:
        """The held-out problems: rows of two operands, or of the digits of two operands."""
        if self.max_value is None:
            columns, below = 2 * self.n_digits, self.base
        else:
            columns, below = 2, self.max_value + 1
        return Split(self.held_out, below, columns, columns)

    @property
    def digits(self) -> tuple[int, ...]:
        """The predicted digits, counted from the right, in the order of prediction."""
        if self.target == "all":
            every = range(self.n_digits + 1)
            return tuple(every if self.order == "least_significant_first" else reversed(every))
        return (NAMED_TARGETS[self.target] if isinstance(self.target, str) else self.target,)

    def identity(self) -> dict[str, Any]:
        """Different names for the same target digit give the same identity."""
        named = self.target if self.target == "all" else self.digits[0]
        return super().identity() | {"target": named}

    @property
    def vocab_size(self) -> int:
        """The digits, ``+`` and ``=``."""
        return self.base + 2

    @property
    def factors(self) -> dict[str, tuple[str, ...]]:
        """The carry into each predicted digit, and how many places that carry has come.

        - ``carry_into_D``: whether there is a carry into digit D of the answer, counted from the
          right (D ≥ 1). It applies to the position of that digit alone.
        - ``cascade``: the number of places that the carry into a digit has come. 0: no carry. 1:
          the place to the right produces it. 2: that place has a digit sum of base - 1 and passes
          on the carry of the next, and so on. It applies to all digits but the last. With several
          digits, longer cascades are those into further digits.
        """
        carried = sorted(digit for digit in self.digits if digit)
        found: dict[str, tuple[str, ...]] = {f"carry_into_{d}": NO_YES for d in carried}
        if not carried or carried[-1] < 2:  # then it is the same as the carry
            return found
        longest = "3" if carried[-1] == 3 else f"{MAX_CASCADE}_or_more"
        return found | {"cascade": ("0", "1", "2", longest)[: carried[-1] + 1]}

    @property
    def natural_levels(self) -> dict[str, float]:
        """The losses of guessing a digit and of choosing between two digits."""
        return {f"log({self.base})": math.log(self.base), "log(2)": math.log(2)}

    @property
    def input_length(self) -> int:
        """Both operands, ``+``, ``=``, and for target ``all`` the answer except its last token."""
        return self.source_length + (self.n_digits if self.target == "all" else 0)

    @property
    def source_length(self) -> int:
        """Both operands, ``+`` and ``=``, where the first token of the answer is predicted."""
        return 2 * self.n_digits + 2
