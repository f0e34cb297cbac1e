"""What every optimizer is: an update of flat parameters with a run axis. Axes: R, P parameters.

Every run's parameters are one row, so an update is a dozen element-wise operations however many
tensors a model has. Settings arrive as float64 scalars per run and step, worked out on the host.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ablab.train.config import TrainConfig

Scalars = dict[str, Float[Tensor, "R 1"]]
OptimizerState = dict[str, Float[Tensor, "R P"]]


class Optimizer(ABC):
    """An update rule; all that it keeps is memory to work in.

    Attributes:
        optimizer_state: The names of its state tensors, each like the parameters, zero at first.
    """

    state_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self._memory: Tensor | None = None

    def scratch(self, theta: Float[Tensor, "R P"]) -> Float[Tensor, "R P"]:
        """Memory like ``theta``, the same at every step: fresh pages cost more than the sums."""
        if self._memory is None or self._memory.shape != theta.shape:
            self._memory = torch.empty_like(theta)
        return self._memory

    def decay(
        self, theta: Float[Tensor, "R P"], scalars: Scalars, decays: Float[Tensor, " P"] | None
    ) -> None:
        """Multiplies parameters by one less ``scalars["decay"]``, those that decay."""
        if decays is None:
            theta.mul_(1 - scalars["decay"])
        else:
            theta.mul_(torch.mul(decays, -scalars["decay"], out=self.scratch(theta)).add_(1))

    @staticmethod
    def penalise(
        theta: Float[Tensor, "R P"],
        grad: Float[Tensor, "R P"],
        scalars: Scalars,
        decays: Float[Tensor, " P"] | None,
    ) -> Float[Tensor, "R P"]:
        """The gradients with ``scalars["decay"]`` times the parameters, those that decay, added."""
        decay = scalars["decay"] if decays is None else scalars["decay"] * decays
        return grad.addcmul_(theta, decay)

    @abstractmethod
    def scalars(self, config: TrainConfig, step: int, lr: float) -> dict[str, float]:
        """The numbers that step ``step`` of one run needs, with ``lr`` the step's own rate."""

    @abstractmethod
    def update(
        self,
        theta: Float[Tensor, "R P"],
        grad: Float[Tensor, "R P"],
        optimizer_state: OptimizerState,
        scalars: Scalars,
        decays: Float[Tensor, " P"] | None,
    ) -> None:
        """Updates ``theta`` and ``optimizer_state`` in place.

        Args:
            theta: Parameters, a row for each run.
            grad: Their gradients; may be overwritten.
            optimizer_state: The state tensors by name.
            scalars: :meth:`scalars` of each run.
            decays: One where a parameter decays and zero elsewhere; None where all decay.
        """


def adam_scalars(config: TrainConfig, step: int, lr: float) -> dict[str, float]:
    """The numbers of :func:`adam_step` at a step: averages' weights, corrections, step size."""
    beta1, beta2 = config.betas
    return {
        "beta1_rest": 1 - beta1,
        "beta2": beta2,
        "beta2_rest": 1 - beta2,
        "root_correction": (1 - beta2**step) ** -0.5,
        "eps": config.eps,
        "step_size": lr / (1 - beta1**step),
    }


def adam_step(
    theta: Tensor, grad: Tensor, optimizer_state: OptimizerState, scalars: Scalars, memory: Tensor
) -> None:
    """Adam's step on parameters (R, P) or some columns of them, with ``memory`` of that shape."""
    mean, square = optimizer_state["exp_avg"], optimizer_state["exp_avg_sq"]
    mean.lerp_(grad, scalars["beta1_rest"])
    square.mul_(scalars["beta2"]).add_(grad.square_().mul_(scalars["beta2_rest"]))
    root = torch.sqrt(square, out=memory)
    root.mul_(scalars["root_correction"]).add_(scalars["eps"])
    theta.sub_(torch.div(mean, root, out=root).mul_(scalars["step_size"]))
