"""Evaluates runs on a held-out batch. Axes: R runs, P parameters, B, T."""

from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ablab.model.forward import FusedKernels
from ablab.tasks.base import Batch
from ablab.train.kernels import StackedKernels
from ablab.train.objective import Objective
from ablab.train.parameter_layout import ParameterLayout

_FUSED = FusedKernels()


@torch.no_grad()
def evaluate_runs(
    objective: Objective,
    layout: ParameterLayout,
    theta: Float[Tensor, "R P"],
    batch: Batch,
    chunk: int,
    together: bool,
) -> dict[str, NDArray[np.float64]]:
    """The loss and the task's measures of each run, by name, (R,) each.

    Args:
        objective: One run's loss and measures.
        layout: The layout of parameters in a row.
        theta: Parameters, one row per run.
        batch: Arrays with the leading axis B.
        chunk: Samples per call.
        together: Whether one call evaluates all runs, under ``torch.vmap``.
    """
    measure = _together if together else _one_by_one
    tokens = torch.from_numpy(batch.tokens).to(theta.device)
    targets = torch.from_numpy(batch.targets).to(theta.device)
    views = layout.views(theta)
    names: list[str] = []
    sums: list[Tensor] = []
    objective.model.eval()
    for start in range(0, len(tokens), chunk):
        part = slice(start, start + chunk)
        found = measure(objective, views, tokens[part], targets[part])
        names = list(found)
        values = torch.stack([value.to(theta.dtype) for value in found.values()])
        sums.append(values.cpu().double() * len(tokens[part]))
    objective.model.train()
    means = torch.stack(sums).sum(dim=0).numpy() / len(tokens)  # (names, R)
    return dict(zip(names, means, strict=True))


def _together(
    objective: Objective, views: dict[str, Tensor], tokens: Tensor, targets: Tensor
) -> dict[str, Tensor]:
    """The measures of all runs on some samples, in one call."""
    measure = partial(objective.measures, kernels=StackedKernels())
    found: dict[str, Tensor] = torch.vmap(measure, in_dims=(0, None, None))(views, tokens, targets)
    return found


def _one_by_one(
    objective: Objective, views: dict[str, Tensor], tokens: Tensor, targets: Tensor
) -> dict[str, Tensor]:
    """The measures of all runs on some samples, one run after the other."""
    runs = len(next(iter(views.values())))
    found = [
        objective.measures(
            {name: view[run] for name, view in views.items()}, tokens, targets, _FUSED
        )
        for run in range(runs)
    ]
    return {name: torch.stack([each[name] for each in found]) for name in found[0]}
