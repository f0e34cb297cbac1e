"""Settings of the learning-rate schedule. Does not import torch."""

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from ablab.config import Component, Config, Neutral, load_object
from ablab.config.own_parts import check_function, has_argument
from ablab.config.variants import Names

SCHEDULES = Names("schedule", ("constant", "linear", "cosine"))
KEY = "train.schedule.kind"
LINES = ("def my_schedule(step, total):", "    return max(0.0, 1 - step / total)")


class ScheduleConfig(Config):
    """The learning-rate schedule: a factor in [0, 1] for each step."""

    kind: Annotated[str, Component(SCHEDULES)] = "constant"
    """The factor after the warm-up: 1, a linear or cosine decay from 1 to ``final``, or the import
    path of a function ``(step, total) -> factor``, or ``(step)`` if it does not depend on the
    total, which it gets by name."""
    warmup: int = Field(0, ge=0)
    """Steps of linear warm-up: at step s ≤ ``warmup``, the factor is f + (1 - f) s / ``warmup``,
    where f is ``warmup_from``."""
    warmup_from: Annotated[float, Neutral(0.0)] = Field(0.0, ge=0, le=1)
    """The factor from which the warm-up rises (f)."""
    final: float = Field(0.0, ge=0, le=1)
    """The factor from step ``total`` on (linear and cosine)."""
    total: int | None = Field(None, ge=1)
    """The step at which ``final`` is reached (linear and cosine), or the ``total`` of a function;
    null: ``train.steps``."""

    @model_validator(mode="after")
    def _warmup_ends(self) -> "ScheduleConfig":
        if self.warmup_from and not self.warmup:
            raise ValueError("warmup_from needs a warmup of at least one step")
        if self.total is not None and self.warmup >= self.total:
            raise ValueError(f"warmup {self.warmup} must end before the total {self.total}")
        if self.is_own and self.final:
            raise ValueError(f"final is a setting of linear and cosine, not of {self.kind}")
        return self

    @field_validator("kind")
    @classmethod
    def _function_of_a_step(cls, kind: str) -> str:
        """Checks that a user's schedule is a function of a step, or of a step and the total."""
        check_function(kind, ["step"], "total", KEY, *LINES)
        return kind

    @property
    def is_own(self) -> bool:
        """Whether it is a user's function."""
        return ":" in self.kind

    @property
    def uses_total(self) -> bool:
        """Whether a factor depends on the step at which the schedule ends."""
        if self.is_own:
            return has_argument(load_object(self.kind, KEY), "total")
        return self.kind != "constant"

    def identity(self) -> dict[str, Any]:
        """A schedule that does not depend on them has no ``final`` and no ``total``."""
        identity = super().identity()
        if self.is_own or self.kind == "constant":
            del identity["final"]
        if not self.uses_total:
            del identity["total"]
        return identity
