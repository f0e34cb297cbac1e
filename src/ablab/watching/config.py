"""The ``watch`` section: what is watched while runs train. Does not import torch."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ablab.config import Config, InputError, nearest
from ablab.train.at_steps_config import AtSteps
from ablab.train.config import Precision
from ablab.watching.names import CAPTURED, DEFAULT, FAMILIES, split_pattern

_EXPECTED = "default, all, none, or patterns of FAMILY/SITE-OR-PARAMETER/REDUCER"


class CaptureConfig(AtSteps):
    """Complete tensors that are saved at some steps."""

    what: tuple[str, ...] = Field(min_length=1)
    """Names or patterns of FAMILY/SITE-OR-PARAMETER. Families: ``activation`` (of a probe batch,
    which is the first held-out samples, in evaluation mode), ``param`` and ``optimizer``. A bare
    site is an activation."""
    samples: int = Field(8, ge=1, le=65536)
    """Number of samples in the probe batch."""

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
                    f"{each!r} has no family that can be captured; expected one of "
                    f"{', '.join(CAPTURED)}" + (f"; did you mean {near}?" if near else "")
                )
        return value


class QueryConfig(Config):
    """A prompt that runs continue, and how."""

    prompt: str = Field(min_length=1)
    """The prompt, in the task's own symbols."""
    tokens: int = Field(128, ge=1, le=10**6)
    """The number of tokens to generate."""
    temperature: float = Field(1.0, ge=0)
    """The divisor of the logits; 0 always selects the most likely token."""
    top_k: int | None = Field(None, ge=1)
    """Draws only from the k most likely tokens; null: all."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Draws only from the most likely tokens with total probability p; null: all."""
    seed: int = Field(0, ge=0, lt=2**63)
    """The seed for sampling."""


class GenerateConfig(AtSteps):
    """Text that is generated from queries while runs train, and kept with the run and the step."""

    queries: tuple[QueryConfig, ...] = Field(min_length=1)
    """The queries."""
    precision: Precision | None = None
    """The precision of generation; null: ``train.precision``."""

    @field_validator("queries", mode="before")
    @classmethod
    def _one_query(cls, value: Any) -> Any:
        return (value,) if isinstance(value, dict) else value


class _Chooses(Config):
    """A section with ``statistics``: patterns, or a keyword for a set of patterns."""

    @model_validator(mode="before")
    @classmethod
    def _words(cls, data: Any) -> Any:
        """Turns a keyword or a single pattern into a list of patterns."""
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
    """The flight recorder: records what happened around a step at which a run went wrong.

    Copies of each run's state are held in memory. When a loss is not finite, when it jumps, or
    when a run is restarted from an earlier state (``train.recover``), the steps around the
    incident are trained again on the side, from the last copy before them, with everything
    watched. The record is saved with the run: the statistics of each step, the identity of the
    batch, and the parameters from just before the incident.
    """

    steps: int = Field(40, ge=1, le=10_000)
    """Number of steps before the incident that are recorded (K)."""
    after: int = Field(5, ge=0, le=10_000)
    """Number of steps after the incident that are recorded."""
    jump: float = Field(5.0, gt=1)
    """A loss is a jump if it exceeds the largest of the K losses before it times this factor."""
    at_most: int = Field(3, ge=0)
    """Maximum number of jumps and recoveries that are recorded for a run. A loss that is not
    finite is always recorded."""
    statistics: tuple[str, ...] = ("*",)
    """The statistics that are recorded."""


class WatchConfig(_Chooses):
    """What is watched while runs train, in addition to the training loss of every step."""

    every: Annotated[int, Field(ge=1)] | Literal["log"] = 10
    """Number of steps between logged rows (learning rate, gradient norm, statistics); stop rules
    are checked at these steps too. ``log``: every step at first, later 16 steps per doubling."""
    statistics: tuple[str, ...] = DEFAULT
    """Statistics at logged steps: patterns of FAMILY/SITE-OR-PARAMETER/REDUCER, or a keyword:
    ``all``, ``default`` (root mean square of parameters and gradients, and the ratio of update to
    parameter), or ``none``."""
    captures: tuple[CaptureConfig, ...] = ()
    """Complete tensors that are saved."""
    capture_limit: float = Field(10.0, gt=0)
    """Maximum size of an experiment's captures, in gigabytes (10⁹ bytes); an experiment that would
    exceed it is rejected before training."""
    generate: GenerateConfig | None = None
    """Text generated from queries, also at the last step; null: none. Without it, the entry of a
    text experiment has a sample of each variant's last step."""
    recorder: RecorderConfig | None = RecorderConfig()
    """The flight recorder; null turns it off."""

    @field_validator("captures", mode="before")
    @classmethod
    def _one_capture(cls, value: Any) -> Any:
        return (value,) if isinstance(value, dict) else value


__all__ = [
    "FAMILIES",
    "CaptureConfig",
    "GenerateConfig",
    "QueryConfig",
    "RecorderConfig",
    "WatchConfig",
]
