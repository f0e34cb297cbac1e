"""What is watched while runs train. Does not import torch."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ablab.config import Config, InputError, nearest
from ablab.watching.names import CAPTURED, DEFAULT, FAMILIES, split_pattern

_EXPECTED = "default, all, none, or patterns of FAMILY/SITE-OR-PARAMETER/REDUCER"


class CaptureConfig(Config):
    """Whole tensors that are kept at some steps."""

    what: tuple[str, ...] = Field(min_length=1)
    """Names or patterns of FAMILY/SITE-OR-PARAMETER with the families ``activation`` (of a probe
    batch, the first held-out samples, in evaluation), ``param`` and ``optimizer``; a bare site
    is an activation."""
    steps: Annotated[tuple[int, ...] | int | Literal["log"], Field(union_mode="left_to_right")] = (
        "log"
    )
    """At which steps, after their update (0: the initial state): a list, every N-th one, or
    ``log``: 0, 1, 2, 4, 8, …"""
    samples: int = Field(8, ge=1, le=65536)
    """Samples of the probe batch."""

    @field_validator("what", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("what")
    @classmethod
    def _families(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            family, slash, _ = each.partition("/")
            if slash and not any(mark in family for mark in "*?[") and family not in CAPTURED:
                near = nearest(family, CAPTURED)
                raise ValueError(
                    f"{each!r} is of no family that can be captured; expected one of "
                    f"{', '.join(CAPTURED)}" + (f"; did you mean {near}?" if near else "")
                )
        return value

    @field_validator("steps")
    @classmethod
    def _steps_are_steps(cls, value: Any) -> Any:
        if isinstance(value, int) and value < 1:
            raise ValueError("every N-th step, with N at least 1, a list of steps, or log")
        if isinstance(value, tuple) and (not value or min(value) < 0):
            raise ValueError("a list of steps from 0 on")
        return value

    def at(self, step: int) -> bool:
        """Whether tensors are kept after a step."""
        if isinstance(self.steps, tuple):
            return step in self.steps
        if self.steps == "log":
            return step & (step - 1) == 0
        return step % self.steps == 0

    def count(self, steps: int) -> int:
        """How many of the steps from 0 to ``steps`` are kept."""
        if isinstance(self.steps, tuple):
            return len({step for step in self.steps if step <= steps})
        return steps.bit_length() + 1 if self.steps == "log" else steps // self.steps + 1

    def next_stop(self, step: int) -> int | None:
        """The next step that is kept, after ``step``; None where there is none."""
        if isinstance(self.steps, tuple):
            return min((each for each in self.steps if each > step), default=None)
        return (
            1 << step.bit_length() if self.steps == "log" else (step // self.steps + 1) * self.steps
        )


class _Chooses(Config):
    """A part with ``statistics``: patterns, or a word that stands for some."""

    @model_validator(mode="before")
    @classmethod
    def _words(cls, data: Any) -> Any:
        """A word, or one pattern, stands for a list of patterns."""
        if not isinstance(data, dict) or "statistics" not in data:
            return data
        found = data["statistics"]
        words: dict[Any, tuple[str, ...]] = {"all": ("*",), "default": DEFAULT, "none": ()}
        if isinstance(found, str):
            return data | {"statistics": words.get(found, (found,))}
        if isinstance(found, list | tuple):
            parts = [
                words.get(each, (each,)) if isinstance(each, str) else (each,) for each in found
            ]
            return data | {"statistics": tuple(name for part in parts for name in part)}
        return data | {"statistics": () if found is None else found}

    @field_validator("statistics", check_fields=False)
    @classmethod
    def _patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            try:
                split_pattern(pattern)
            except InputError as error:
                raise ValueError(str(error.problems[0].message)) from error
        return value


class RecorderConfig(_Chooses):
    """The flight recorder: what happened around a step at which a run went wrong.

    A state of each run is held in memory now and then. When a loss is not finite, jumps, or a run
    is taken back (``train.recover``), the steps around it are trained again from there on the side
    with everything watched, and kept with the run: the statistics of each step, the identity of the
    batch, and the parameters from just before.
    """

    steps: int = Field(40, ge=1, le=10_000)
    """Steps before the incident that are kept (K)."""
    after: int = Field(5, ge=0, le=10_000)
    """Steps after it."""
    jump: float = Field(5.0, gt=1)
    """A loss that is more than this many times the largest of the K losses before it is a jump."""
    at_most: int = Field(3, ge=0)
    """Jumps and recoveries of a run that are kept; the loss that is not finite always is."""
    statistics: tuple[str, ...] = ("*",)
    """Which statistics are kept."""


class WatchConfig(_Chooses):
    """What is watched while runs train, beside the training loss of every step."""

    every: Annotated[int, Field(ge=1)] | Literal["log"] = 10
    """Steps from one logged row to the next (learning rate, gradient norm, statistics; stop rules
    look too); ``log``: every step at first and 16 of each doubling later."""
    statistics: tuple[str, ...] = DEFAULT
    """Statistics at logged steps: patterns of FAMILY/SITE-OR-PARAMETER/REDUCER, or one word:
    ``all``, ``default`` (the roots of mean squares of parameters and gradients, and the ratio of
    update to parameter), or ``none``."""
    captures: tuple[CaptureConfig, ...] = ()
    """Whole tensors that are kept."""
    capture_limit: float = Field(10.0, gt=0)
    """Gigabytes (10⁹ bytes) that an experiment's captures may take; more is refused beforehand."""
    recorder: RecorderConfig | None = RecorderConfig()
    """The flight recorder; null: none."""

    @field_validator("captures", mode="before")
    @classmethod
    def _one_capture(cls, value: Any) -> Any:
        return (value,) if isinstance(value, dict) else value


__all__ = ["FAMILIES", "CaptureConfig", "RecorderConfig", "WatchConfig"]
