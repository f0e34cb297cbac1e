"""Adam, and the step that AdamW and Muon share with it. Axes: R runs, P parameters."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ablab.train.optimizer import Optimizer, OptimizerState, Scalars
from ablab.train.optimizers.adam_config import AdamConfig
from ablab.train.optimizers.one_pass import adam_in_one_pass, updates_in_one_pass


class Adam(Optimizer[AdamConfig]):
    """Adam (Kingma and Ba, 2015) with decay as an L2 penalty, as in ``torch.optim.Adam``."""

    Config: ClassVar = AdamConfig
    state_names = ("exp_avg", "exp_avg_sq")

    def scalars(self, config: AdamConfig, step: int, lr: float) -> dict[str, float]:
        """The weights of the averages, bias corrections, step size and decay."""
        return adam_scalars(config.betas, config.eps, step, lr) | {"decay": config.weight_decay}

    def update(
        self,
        theta: Float[Tensor, "R P"],
        grad: Float[Tensor, "R P"],
        optimizer_state: OptimizerState,
        scalars: Scalars,
        decays: Float[Tensor, " P"] | None,
    ) -> None:
        """Adds the gradient of the penalty, then applies Adam's update."""
        grad = self.penalise(theta, grad, scalars, decays)
        adam_step(theta, grad, optimizer_state, scalars, self, self.scratch(theta))


def adam_scalars(betas: tuple[float, float], eps: float, step: int, lr: float) -> dict[str, float]:
    """The numbers for :func:`adam_step`: weights of the averages, corrections and step size."""
    beta1, beta2 = betas
    return {
        "step": float(step),
        "lr": lr,
        "beta1_rest": 1 - beta1,
        "beta2": beta2,
        "beta2_rest": 1 - beta2,
        "root_correction": (1 - beta2**step) ** -0.5,
        "eps": eps,
        "step_size": lr / (1 - beta1**step),
    }


def adam_step(
    theta: Tensor,
    grad: Tensor,
    optimizer_state: OptimizerState,
    scalars: Scalars,
    optimizer: Optimizer[Any],
    memory: Tensor,
) -> None:
    """Adam's update of parameters (R, P) or some of their columns; ``memory`` is a buffer."""
    if updates_in_one_pass(theta, optimizer):
        every = [(slice(0, theta.shape[1]), False)]
        adam_in_one_pass(theta, grad, optimizer_state, scalars, every, optimizer)
        return
    mean, square = optimizer_state["exp_avg"], optimizer_state["exp_avg_sq"]
    mean.lerp_(grad, scalars["beta1_rest"])
    square.mul_(scalars["beta2"]).add_(grad.square_().mul_(scalars["beta2_rest"]))
    root = torch.sqrt(square, out=memory)
    root.mul_(scalars["root_correction"]).add_(scalars["eps"])
    theta.sub_(torch.div(mean, root, out=root).mul_(scalars["step_size"]))
