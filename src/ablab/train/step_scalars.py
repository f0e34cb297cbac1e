"""The numbers that the updates of some steps need, computed on the host. Axes: K steps, R runs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablab.train.optimizer import Optimizer
from ablab.train.run import Run
from ablab.train.schedules import factors


def step_scalars(
    runs: Sequence[Run],
    optimizer: Optimizer[Any],
    first: int,
    count: int,
    lr_scales: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Learning rates (K, R), and the optimizer's numbers by name, (K, R, 1) each.

    Args:
        runs: The runs.
        optimizer: Their optimizer.
        first: The first step.
        count: The number of steps.
        lr_scales: A factor for each run's learning rate, (R,); None for 1.
    """
    lrs = np.empty((count, len(runs)))
    table: dict[str, NDArray[np.float64]] = {}
    for r, run in enumerate(runs):
        config, settings = run.train, run.train.optimizer_config
        rates = config.lr * factors(config.schedule, config.schedule_total, first, count)
        if lr_scales is not None:
            rates = rates * lr_scales[r]
        lrs[:, r] = rates
        for k in range(count):
            numbers = optimizer.scalars(settings, first + k, float(rates[k]))
            if config.clip_norm is not None:
                numbers["clip_norm"] = config.clip_norm
            for name, value in numbers.items():
                if name not in table:
                    table[name] = np.empty((count, len(runs), 1))
                table[name][k, r, 0] = value
    return lrs, table
