"""The numbers that the updates of some steps need, computed on the host. Axes: K steps, R runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablab.train.config import TrainConfig
from ablab.train.optimizer import Optimizer
from ablab.train.run import Run
from ablab.train.schedules import factors


@dataclass(frozen=True)
class StepScalars:
    """The numbers of some steps, in one array, which is moved to a device at once.

    Attributes:
        names: The names of the optimizer's numbers (S).
        values: Their values, (K, S, R, 1).
        lrs: Learning rates, (K, R).
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    lrs: NDArray[np.float64]


def step_scalars(
    runs: Sequence[Run],
    optimizer: Optimizer[Any],
    first: int,
    count: int,
    lr_scales: NDArray[np.float64] | None,
) -> StepScalars:
    """Learning rates and the optimizer's numbers, computed once for runs of equal settings.

    Args:
        runs: The runs.
        optimizer: Their optimizer.
        first: The first step.
        count: The number of steps.
        lr_scales: A factor for each run's learning rate, (R,); None for 1.
    """
    columns: dict[tuple[int, float], int] = {}  # settings are shared by the seeds of a variant
    own = np.empty(len(runs), dtype=np.int64)
    rates, tables = [], []
    for r, run in enumerate(runs):
        key = (id(run.train), 1.0 if lr_scales is None else float(lr_scales[r]))
        if key not in columns:
            columns[key] = len(columns)
            rates.append(_rates(run.train, first, count) * key[1])
            tables.append(_table(run.train, optimizer, first, rates[-1]))
        own[r] = columns[key]
    names = tuple(tables[0])
    values = np.empty((count, len(names), len(runs), 1))
    for place, name in enumerate(names):
        values[:, place, :, 0] = np.stack([table[name] for table in tables], axis=1)[:, own]
    return StepScalars(names, values, np.stack(rates, axis=1)[:, own])


def _rates(config: TrainConfig, first: int, count: int) -> NDArray[np.float64]:
    """Learning rates, (K,)."""
    return config.lr * factors(config.schedule, config.schedule_total, first, count)


def _table(
    config: TrainConfig, optimizer: Optimizer[Any], first: int, rates: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """The numbers of one run by name, (K,) each."""
    settings = config.optimizer_config
    rows = [optimizer.scalars(settings, first + k, float(rate)) for k, rate in enumerate(rates)]
    if config.clip_norm is not None:
        rows = [row | {"clip_norm": config.clip_norm} for row in rows]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
