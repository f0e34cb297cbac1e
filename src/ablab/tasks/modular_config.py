"""Settings of modular arithmetic. Does not import torch."""

import math
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from ablab.tasks.config import ACCURACIES, ACCURACY_LIMITS, TASKS, Direction, Limits, TaskConfig
from ablab.tasks.factors import NO_YES
from ablab.tasks.polynomial import canonical
from ablab.tasks.random import MAX_SEED

MAX_MODULUS = 1000
SUMS = ("a + b", "b + a", "a - b", "b - a")  # operations of which one sees whether they wrap


@TASKS.register("modular")
class ModularConfig(TaskConfig):
    """Settings of :class:`ablab.tasks.modular.Modular`."""

    implementation: ClassVar[str] = "ablab.tasks.modular:Modular"
    measure_directions: ClassVar[dict[str, Direction]] = ACCURACIES
    measure_limits: ClassVar[dict[str, Limits]] = ACCURACY_LIMITS

    kind: Literal["modular"] = "modular"
    """This task's name."""
    operation: str = "a+b"
    """The operation: a polynomial in ``a`` and ``b``, such as ``a-b`` or ``a**2+a*b+b**2``."""
    p: int = Field(113, ge=2, le=MAX_MODULUS)
    """The modulus; it need not be prime."""
    train_fraction: float = Field(0.3, gt=0, lt=1)
    """The share of all p * p pairs used for training; the others are used for evaluation."""
    split_seed: int = Field(0, ge=0, le=MAX_SEED)
    """The seed of the split; the split is the same for all seeds of an experiment."""

    @field_validator("operation")
    @classmethod
    def _is_a_polynomial(cls, value: str) -> str:
        canonical(value)
        return value

    @model_validator(mode="after")
    def _both_sides_have_pairs(self) -> "ModularConfig":
        if not 0 < self.train_size < self.p**2:
            raise ValueError(
                f"train_fraction {self.train_fraction} of {self.p**2} pairs is {self.train_size}: "
                f"training and evaluation each need at least one pair"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """Spacing in the operation does not affect the identity."""
        return super().identity() | {"operation": canonical(self.operation)}

    @property
    def train_size(self) -> int:
        """The number of training pairs."""
        return round(self.train_fraction * self.p**2)

    @property
    def vocab_size(self) -> int:
        """The numbers below p, and ``=``."""
        return self.p + 1

    @property
    def input_length(self) -> int:
        """a, b and ``=``."""
        return 3

    @property
    def source_length(self) -> int:
        """The complete input: a, b and ``=``, where the answer is predicted."""
        return 3

    @property
    def factors(self) -> dict[str, tuple[str, ...]]:
        """``wraps``: whether a + b is p or more, or a difference is negative.

        Other operations have no factors.
        """
        return {"wraps": NO_YES} if canonical(self.operation) in SUMS else {}

    @property
    def natural_levels(self) -> dict[str, float]:
        """The loss of guessing a number below p."""
        return {f"log({self.p})": math.log(self.p)}
