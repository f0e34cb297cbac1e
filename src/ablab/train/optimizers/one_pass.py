"""Adam's update of large rows, in one pass by torch's fused kernel. Axes: R runs, P parameters.

On a CPU, the kernel updates run by run, with numbers that the host has. On CUDA it updates a run
alone, whose numbers are its settings, but for the rate and the step, which are on the device.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from ablab.train.optimizer import Optimizer, OptimizerState, Scalars
from ablab.train.stored_programs import are_shipped

# Parameters of a run from which the kernel is faster than a dozen operations on all rows. On a CPU,
# only the size of a run may count, so that a run is updated in the same way alone and in a stack.
_LARGE = 50_000


def updates_in_one_pass(theta: Tensor, optimizer: Optimizer[Any]) -> bool:
    """Whether parameters (R, P) should be updated by :func:`adam_in_one_pass`.

    On CUDA, not those of a user's optimizer, whose numbers need not be its settings.
    """
    if theta.shape[1] < _LARGE:
        return False
    alone = theta.device.type == "cuda" and theta.shape[0] == 1 and theta.dtype == torch.float32
    return theta.device.type == "cpu" or (alone and are_shipped(type(optimizer)))


def adam_in_one_pass(
    theta: Tensor,
    grad: Tensor,
    optimizer_state: OptimizerState,
    scalars: Scalars,
    parts: Sequence[tuple[slice, bool]],
    optimizer: Optimizer[Any],
) -> None:
    """Adam's update; each number is read and written once.

    Args:
        theta: Parameters, (R, P).
        grad: Their gradients.
        optimizer_state: ``exp_avg`` and ``exp_avg_sq``.
        scalars: Those of ``adam_scalars``, and ``decay`` if a part decays.
        parts: Columns, and whether they are also multiplied by ``1 - scalars["decay"]``.
        optimizer: The optimizer, for the settings of a run alone on CUDA.
    """
    rows = (theta, grad, optimizer_state["exp_avg"], optimizer_state["exp_avg_sq"])
    if theta.device.type == "cpu":
        numbers = {name: each.flatten().tolist() for name, each in scalars.items()}
        for run in range(theta.shape[0]):
            own = {name: values[run] for name, values in numbers.items()}
            fused_adam([each[run] for each in rows], parts, known_on_host(own))
    else:
        fused_adam([each[0] for each in rows], parts, known_on_device(scalars, optimizer.config))


def known_on_host(own: dict[str, float]) -> dict[str, Any]:
    """The kernel's numbers, from the scalars of one run."""
    lr = own["lr"]
    return {
        "step": torch.tensor(own["step"] - 1),  # the kernel counts this step
        "lr": lr,
        "beta1": 1 - own["beta1_rest"],
        "beta2": 1 - own["beta2_rest"],
        "eps": own["eps"],
        # The kernel multiplies by 1 - rate * decay. At a rate of zero nothing decays.
        "weight_decay": own.get("decay", 0.0) / lr if lr else 0.0,
    }


def known_on_device(scalars: Scalars, config: Any) -> dict[str, Any]:
    """The kernel's numbers for a run alone; nothing is read from the device."""
    beta1, beta2 = config.betas
    return {
        "step": scalars["step"][0, 0] - 1,
        "lr": scalars["lr"][0, 0],
        "beta1": beta1,
        "beta2": beta2,
        "eps": config.eps,
        "weight_decay": config.weight_decay,
    }


def fused_adam(
    rows: Sequence[Tensor], parts: Sequence[tuple[slice, bool]], known: dict[str, Any]
) -> None:
    """Calls the kernel for the parts of one run that decay, and then for the others.

    Args:
        rows: Parameters, gradient, its average and that of its square, (P,) each.
        parts: Columns, and whether they decay.
        known: The kernel's numbers.
    """
    step, decay = known["step"], known["weight_decay"]
    others = {name: value for name, value in known.items() if name not in ("step", "weight_decay")}
    for decays in (True, False):
        places = [place for place, decaying in parts if decaying is decays]
        if not places:
            continue
        params, grads, means, squares = ([each[place] for place in places] for each in rows)
        adam(
            params,
            grads,
            means,
            squares,
            [],
            [step.clone() for _ in places],
            fused=True,
            amsgrad=False,
            capturable=step.device.type != "cpu",
            weight_decay=decay if decays else 0.0,
            maximize=False,
            decoupled_weight_decay=True,
            **others,
        )


def parts_that_decay(decays: Tensor | None, columns: int) -> list[tuple[slice, bool]]:
    """Columns that are next to each other and alike, and whether they decay.

    Args:
        decays: One for parameters that decay, zero for others, (P,); None if all decay.
        columns: The number of parameters, P.
    """
    if decays is None:
        return [(slice(0, columns), True)]
    changes = (decays[1:] != decays[:-1]).nonzero().flatten() + 1
    edges = [0, *changes.tolist(), columns]
    return [(slice(start, stop), bool(decays[start])) for start, stop in pairwise(edges)]
