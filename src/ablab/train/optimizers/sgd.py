"""Gradient descent. Axes: R runs, P parameters."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ablab.train.optimizer import Optimizer, OptimizerState, Scalars
from ablab.train.optimizers.sgd_config import SgdConfig


class Sgd(Optimizer[SgdConfig]):
    """Gradient descent with (Nesterov) momentum and an L2 penalty, like ``torch.optim.SGD``."""

    Config: ClassVar = SgdConfig
    state_names = ("momentum_buffer",)

    def scalars(self, config: SgdConfig, step: int, lr: float) -> dict[str, float]:
        """The learning rate, the momentum and the decay."""
        return {"lr": lr, "momentum": config.momentum, "decay": config.weight_decay}

    def update(
        self,
        theta: Float[Tensor, "R P"],
        grad: Float[Tensor, "R P"],
        optimizer_state: OptimizerState,
        scalars: Scalars,
        decays: Float[Tensor, " P"] | None,
    ) -> None:
        """Adds the gradient of the penalty, then updates along the momentum."""
        grad = self.penalise(theta, grad, scalars, decays)
        buffer = optimizer_state["momentum_buffer"].mul_(scalars["momentum"]).add_(grad)
        step = grad + scalars["momentum"] * buffer if self.config.nesterov else buffer
        theta.sub_(step * scalars["lr"])
