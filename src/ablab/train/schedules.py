"""Learning-rate schedules: a factor in [0, 1] for each step."""

import math
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from ablab.config import load_object
from ablab.config.own_parts import part_error
from ablab.train.schedule_config import KEY, LINES, ScheduleConfig


def factors(
    schedule: ScheduleConfig, total: int, first_step: int, steps: int
) -> NDArray[np.float64]:
    """The factors of steps ``first_step`` … ``first_step + steps - 1``, shape (steps,).

    Args:
        schedule: The schedule's settings.
        total: The step at which it reaches its final factor.
        first_step: The first step, starting at 1.
        steps: The number of steps.

    Raises:
        InputError: A user's schedule gives something other than a finite number of at least 0.
    """
    step = np.arange(first_step, first_step + steps, dtype=np.float64)
    rise = 1 - schedule.warmup_from
    warming = schedule.warmup_from + rise * step / max(schedule.warmup, 1)
    progress = np.clip((step - schedule.warmup) / max(total - schedule.warmup, 1), 0.0, 1.0)
    match schedule.kind:
        case "constant":
            after = np.ones_like(step)
        case "linear":
            after = 1 - (1 - schedule.final) * progress
        case "cosine":
            after = schedule.final + (1 - schedule.final) * 0.5 * (1 + np.cos(np.pi * progress))
        case _:
            after = _own_factors(schedule, total, first_step, steps)
    return np.where(step <= schedule.warmup, warming, after)


def _own_factors(
    schedule: ScheduleConfig, total: int, first_step: int, steps: int
) -> NDArray[np.float64]:
    """The factors of a user's schedule, without its warm-up."""
    function = load_object(schedule.kind, KEY)
    named = {"total": total} if schedule.uses_total else {}
    found = []
    for step in range(first_step, first_step + steps):
        factor = function(step, **named)
        if not isinstance(factor, Real | np.ndarray) or not math.isfinite(factor) or factor < 0:
            what = f"gives {factor!r} at step {step}, not a finite number of at least 0"
            raise part_error(KEY, schedule.kind, what, *LINES)
        found.append(float(factor))
    return np.array(found)
