"""Settings of what is done at some steps. Does not import torch."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from ablab.config import Config


class AtSteps(Config):
    """Something that is done at some steps."""

    steps: Annotated[tuple[int, ...] | int | Literal["log"], Field(union_mode="left_to_right")] = (
        "log"
    )
    """The steps after whose update it is done (0: the initial state): a list, N for every
    N-th step, or ``log`` for 0, 1, 2, 4, 8, …"""

    @field_validator("steps")
    @classmethod
    def _steps_are_steps(cls, value: Any) -> Any:
        if isinstance(value, int) and value < 1:
            raise ValueError("N, for every N-th step, must be at least 1")
        if isinstance(value, tuple) and (not value or min(value) < 0):
            raise ValueError("a list of steps must not be empty, and no step may be below 0")
        return value

    def at(self, step: int) -> bool:
        """Whether it is done after a step."""
        if isinstance(self.steps, tuple):
            return step in self.steps
        if self.steps == "log":
            return step & (step - 1) == 0
        return step % self.steps == 0

    def count(self, steps: int) -> int:
        """The number of steps from 0 to ``steps`` at which it is done."""
        if isinstance(self.steps, tuple):
            return len({step for step in self.steps if step <= steps})
        return steps.bit_length() + 1 if self.steps == "log" else steps // self.steps + 1

    def next_stop(self, step: int) -> int | None:
        """The next step after ``step`` at which it is done, or None."""
        if isinstance(self.steps, tuple):
            return min((each for each in self.steps if each > step), default=None)
        return (
            1 << step.bit_length() if self.steps == "log" else (step // self.steps + 1) * self.steps
        )
