"""Learning-rate schedules: a factor in [0, 1] for each step."""

import numpy as np
from numpy.typing import NDArray

from ablab.train.config import ScheduleConfig


def factors(
    schedule: ScheduleConfig, total: int, first_step: int, steps: int
) -> NDArray[np.float64]:
    """The factors of steps ``first_step`` … ``first_step + steps - 1``, shape (steps,).

    Args:
        schedule: The schedule's settings.
        total: The step at which it reaches its final factor.
        first_step: The first step, starting at 1.
        steps: The number of steps.
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
    return np.where(step <= schedule.warmup, warming, after)
