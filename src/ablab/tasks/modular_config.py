"""Settings of modular arithmetic. Does not import torch."""

import math
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from ablab.tasks.config import TASKS, TaskConfig
from ablab.tasks.polynomial import canonical
from ablab.tasks.random import MAX_SEED

MAX_MODULUS = 1000


@TASKS.register("modular")
class ModularConfig(TaskConfig):
    """Settings of :class:`ablab.tasks.modular.Modular`."""

    implementation: ClassVar[str] = "ablab.tasks.modular:Modular"

    kind: Literal["modular"] = "modular"
    """This task's name."""
    operation: str = "a+b"
    """What is asked: a polynomial in ``a`` and ``b``, as ``a-b``, ``a*b``, ``a**2+a*b+b**2``."""
    p: int = Field(113, ge=2, le=MAX_MODULUS)
    """The modulus; it need not be prime."""
    train_fraction: float = Field(0.3, gt=0, lt=1)
    """The share of all p * p pairs that is trained on; the others are for evaluation."""
    split_seed: int = Field(0, ge=0, le=MAX_SEED)
    """Which pairs are trained on; the same for every seed of a run."""

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
                f"at least one pair is trained on, and at least one is not"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """An operation is the same however it is spaced."""
        return super().identity() | {"operation": canonical(self.operation)}

    @property
    def train_size(self) -> int:
        """How many pairs are trained on."""
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
        """All of it: a, b and ``=``, at which the answer is predicted."""
        return 3

    @property
    def natural_levels(self) -> dict[str, float]:
        """Guessing any number below p."""
        return {f"log({self.p})": math.log(self.p)}
