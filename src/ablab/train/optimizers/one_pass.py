"""Adam's update of large rows on a CPU, in one pass by torch's fused kernel. Axes: R, P."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.optim.adam import adam

from ablab.train.optimizer import OptimizerState, Scalars

# Parameters of a run from which the kernel is faster than a dozen operations on all rows. Only the
# size of a run may count, so that a run is updated in the same way alone and in a stack.
_LARGE = 50_000


def updates_in_one_pass(theta: Tensor) -> bool:
    """Whether parameters (R, P) should be updated by :func:`adam_in_one_pass`."""
    return theta.device.type == "cpu" and theta.shape[1] >= _LARGE


def adam_in_one_pass(
    theta: Tensor,
    grad: Tensor,
    optimizer_state: OptimizerState,
    scalars: Scalars,
    parts: Sequence[tuple[slice, bool]],
) -> None:
    """Adam's update, run by run; each number is read and written once.

    Args:
        theta: Parameters, (R, P).
        grad: Their gradients.
        optimizer_state: ``exp_avg`` and ``exp_avg_sq``.
        scalars: Those of ``adam_scalars``, and ``decay`` if a part decays.
        parts: Columns, and whether they are also multiplied by ``1 - scalars["decay"]``.
    """
    numbers = {name: each.flatten().tolist() for name, each in scalars.items()}
    tensors = (theta, grad, optimizer_state["exp_avg"], optimizer_state["exp_avg_sq"])
    for run in range(theta.shape[0]):
        own = {name: values[run] for name, values in numbers.items()}
        lr = own["lr"]
        for decays in (True, False):
            places = [place for place, decaying in parts if decaying is decays]
            if not places:
                continue
            # The kernel multiplies by 1 - rate * decay. At a rate of zero nothing decays.
            decay = own["decay"] / lr if decays and lr else 0.0
            params, grads, means, squares = (
                [each[run, place] for place in places] for each in tensors
            )
            adam(
                params,
                grads,
                means,
                squares,
                [],
                [torch.tensor(own["step"] - 1) for _ in places],  # the kernel counts this step
                fused=True,
                amsgrad=False,
                beta1=1 - own["beta1_rest"],
                beta2=1 - own["beta2_rest"],
                lr=lr,
                weight_decay=decay,
                eps=own["eps"],
                maximize=False,
                decoupled_weight_decay=True,
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
