"""Evaluates runs on a held-out batch. Axes: R runs, P parameters, B, T."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ablab.model.forward import FusedKernels, Kernels
from ablab.tasks.base import Batch
from ablab.train.by_factor import Groups, means_by_group
from ablab.train.kernels import StackedKernels
from ablab.train.method import Method
from ablab.train.objective import Objective
from ablab.train.parameter_layout import ParameterLayout

_FUSED = FusedKernels()
_LARGE = 10_000  # parameters of a run
Found = tuple[dict[str, Tensor], dict[str, Tensor]]  # measures of a batch, values of its tokens
Measure = Callable[..., Found]
Measured = dict[str, NDArray[np.float64]]  # (R,) by name


def together_is_faster(method: Method, device: torch.device, layout: ParameterLayout) -> bool:
    """Whether one call should evaluate all runs of a stack.

    On a CPU, large runs are faster one by one. Only the size of a run counts, so that its losses do
    not depend on the stack.
    """
    return method.engine == "stack" and (device.type != "cpu" or layout.size < _LARGE)


@torch.no_grad()
def evaluate_runs(
    objective: Objective,
    layout: ParameterLayout,
    theta: Float[Tensor, "R P"],
    batch: Batch,
    chunk: int,
    together: bool,
    groups: Groups = (),
) -> Measured:
    """The loss and the task's measures of each run, by name, (R,) each.

    Args:
        objective: One run's loss and measures.
        layout: The layout of parameters in a row.
        theta: Parameters, one row per run.
        batch: Arrays with the leading axis B.
        chunk: Samples per call.
        together: Whether one call evaluates all runs, under ``torch.vmap``.
        groups: Tokens of the batch whose loss and accuracy are wanted as well.
    """
    one = objective.measures_and_tokens if groups else _without_tokens(objective)
    measure = _together if together else _one_by_one
    tokens = torch.from_numpy(batch.tokens).to(theta.device)
    targets = torch.from_numpy(batch.targets).to(theta.device)
    views = layout.views(theta)
    names: list[str] = []
    sums: list[Tensor] = []
    by_token: dict[str, list[NDArray[Any]]] = {}
    objective.model.eval()
    for start in range(0, len(tokens), chunk):
        part = slice(start, start + chunk)
        found, of_tokens = measure(one, views, tokens[part], targets[part])
        names = list(found)
        values = torch.stack([value.to(theta.dtype) for value in found.values()])
        sums.append(values.cpu().double() * len(tokens[part]))
        for name, each in of_tokens.items():
            by_token.setdefault(name, []).append(each.cpu().numpy())
    objective.model.train()
    means = torch.stack(sums).sum(dim=0).numpy() / len(tokens)  # (names, R)
    every = {name: np.concatenate(parts, axis=1) for name, parts in by_token.items()}
    return dict(zip(names, means, strict=True)) | means_by_group(groups, every)


def _without_tokens(objective: Objective) -> Measure:
    """A run's measures, with no values of tokens."""

    def measure(
        parameters: dict[str, Tensor], tokens: Tensor, targets: Tensor, kernels: Kernels
    ) -> Found:
        return objective.measures(parameters, tokens, targets, kernels), {}

    return measure


def _together(one: Measure, views: dict[str, Tensor], tokens: Tensor, targets: Tensor) -> Found:
    """The measures of all runs on some samples, in one call."""
    measure = partial(one, kernels=StackedKernels())
    found: Found = torch.vmap(measure, in_dims=(0, None, None))(views, tokens, targets)
    return found


def _one_by_one(one: Measure, views: dict[str, Tensor], tokens: Tensor, targets: Tensor) -> Found:
    """The measures of all runs on some samples, one run after the other."""
    runs = len(next(iter(views.values())))
    found = [
        one({name: view[run] for name, view in views.items()}, tokens, targets, kernels=_FUSED)
        for run in range(runs)
    ]
    measures, of_tokens = ([each[place] for each in found] for place in (0, 1))
    return _stacked(measures), _stacked(of_tokens)


def _stacked(found: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The values of all runs, with the leading axis R."""
    return {name: torch.stack([each[name] for each in found]) for name in found[0]}
