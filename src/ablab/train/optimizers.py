"""Optimizers over flat parameters with a run axis, each run with its own settings. Axes: R, P.

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
Slots = dict[str, Float[Tensor, "R P"]]


class Optimizer(ABC):
    """An update rule; all that it keeps is memory to work in.

    Attributes:
        slots: The names of its state tensors, each like the parameters, zero at first.
    """

    slots: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self._memory: Tensor | None = None

    def scratch(self, theta: Float[Tensor, "R P"]) -> Float[Tensor, "R P"]:
        """Memory like ``theta``, the same at every step: fresh pages cost more than the sums."""
        if self._memory is None or self._memory.shape != theta.shape:
            self._memory = torch.empty_like(theta)
        return self._memory

    @abstractmethod
    def scalars(self, config: TrainConfig, step: int, lr: float) -> dict[str, float]:
        """The numbers that step ``step`` of one run needs, with ``lr`` the step's own rate."""

    @abstractmethod
    def update(
        self,
        theta: Float[Tensor, "R P"],
        grad: Float[Tensor, "R P"],
        slots: Slots,
        scalars: Scalars,
        decays: Float[Tensor, " P"] | None,
    ) -> None:
        """Updates ``theta`` and ``slots`` in place.

        Args:
            theta: Parameters, a row for each run.
            grad: Their gradients; may be overwritten.
            slots: The state tensors by name.
            scalars: :meth:`scalars` of each run.
            decays: One where a parameter decays and zero elsewhere; None where all decay.
        """


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), as ``torch.optim.AdamW``."""

    slots = ("exp_avg", "exp_avg_sq")

    def scalars(self, config: TrainConfig, step: int, lr: float) -> dict[str, float]:
        """Averages' weights, bias corrections, step size and decay."""
        beta1, beta2 = config.betas
        return {
            "beta1_rest": 1 - beta1,
            "beta2": beta2,
            "beta2_rest": 1 - beta2,
            "root_correction": (1 - beta2**step) ** -0.5,
            "eps": config.eps,
            "step_size": lr / (1 - beta1**step),
            "decay": self._decay(config, lr),
        }

    def _decay(self, config: TrainConfig, lr: float) -> float:
        return lr * (config.weight_decay or 0.0)

    def update(
        self,
        theta: Float[Tensor, "R P"],
        grad: Float[Tensor, "R P"],
        slots: Slots,
        scalars: Scalars,
        decays: Float[Tensor, " P"] | None,
    ) -> None:
        """Decays the parameters, then takes Adam's step."""
        if decays is None:
            theta.mul_(1 - scalars["decay"])
        else:
            theta.mul_(torch.mul(decays, -scalars["decay"], out=self.scratch(theta)).add_(1))
        self._adam_step(theta, grad, slots, scalars)

    def _adam_step(self, theta: Tensor, grad: Tensor, slots: Slots, scalars: Scalars) -> None:
        mean, square = slots["exp_avg"], slots["exp_avg_sq"]
        mean.lerp_(grad, scalars["beta1_rest"])
        square.mul_(scalars["beta2"]).add_(grad.square_().mul_(scalars["beta2_rest"]))
        root = torch.sqrt(square, out=self.scratch(theta))
        root.mul_(scalars["root_correction"]).add_(scalars["eps"])
        theta.sub_(torch.div(mean, root, out=root).mul_(scalars["step_size"]))


class Adam(AdamW):
    """Adam (Kingma and Ba, 2015) with decay as an L2 penalty, as ``torch.optim.Adam``."""

    def _decay(self, config: TrainConfig, lr: float) -> float:
        return config.weight_decay or 0.0

    def update(
        self,
        theta: Float[Tensor, "R P"],
        grad: Float[Tensor, "R P"],
        slots: Slots,
        scalars: Scalars,
        decays: Float[Tensor, " P"] | None,
    ) -> None:
        """Adds the penalty's gradient, then takes Adam's step."""
        decay = scalars["decay"] if decays is None else scalars["decay"] * decays
        self._adam_step(theta, grad.addcmul_(theta, decay), slots, scalars)


class Sgd(Optimizer):
    """Gradient descent with momentum and an L2 penalty, as ``torch.optim.SGD``."""

    slots = ("momentum_buffer",)

    def scalars(self, config: TrainConfig, step: int, lr: float) -> dict[str, float]:
        """Rate, momentum and decay."""
        return {"lr": lr, "momentum": config.momentum, "decay": config.weight_decay or 0.0}

    def update(
        self,
        theta: Float[Tensor, "R P"],
        grad: Float[Tensor, "R P"],
        slots: Slots,
        scalars: Scalars,
        decays: Float[Tensor, " P"] | None,
    ) -> None:
        """Adds the penalty's gradient, then steps along the momentum."""
        decay = scalars["decay"] if decays is None else scalars["decay"] * decays
        grad = grad.addcmul_(theta, decay)
        buffer = slots["momentum_buffer"].mul_(scalars["momentum"]).add_(grad)
        theta.sub_(self._direction(grad, buffer, scalars) * scalars["lr"])

    def _direction(self, grad: Tensor, buffer: Tensor, scalars: Scalars) -> Tensor:
        return buffer


class NesterovSgd(Sgd):
    """Gradient descent with Nesterov's momentum, as ``torch.optim.SGD(nesterov=True)``."""

    def _direction(self, grad: Tensor, buffer: Tensor, scalars: Scalars) -> Tensor:
        return grad + scalars["momentum"] * buffer


def make_optimizer(config: TrainConfig) -> Optimizer:
    """The optimizer that a configuration names."""
    match config.optimizer:
        case "adamw":
            return AdamW()
        case "adam":
            return Adam()
        case "sgd":
            return NesterovSgd() if config.nesterov else Sgd()
