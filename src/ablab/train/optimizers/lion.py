"""Lion. Axes: R runs, P parameters."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ablab.train.optimizer import Optimizer, OptimizerState, Scalars
from ablab.train.optimizers.lion_config import LionConfig


class Lion(Optimizer[LionConfig]):
    """Updates by the sign of an average of gradients, with decoupled decay (Chen et al., 2023).

    θ ← θ − lr (sign(β₁ m + (1 − β₁) g) + λ θ), then m ← β₂ m + (1 − β₂) g: "Symbolic Discovery of
    Optimization Algorithms", algorithm 2.
    """

    Config: ClassVar = LionConfig
    state_names = ("exp_avg",)

    def scalars(self, config: LionConfig, step: int, lr: float) -> dict[str, float]:
        """The weights of the averages, the learning rate and the decay."""
        beta1, beta2 = config.betas
        return {
            "beta1_rest": 1 - beta1,
            "beta2_rest": 1 - beta2,
            "lr": lr,
            "decay": lr * config.weight_decay,
        }

    def update(
        self,
        theta: Float[Tensor, "R P"],
        grad: Float[Tensor, "R P"],
        optimizer_state: OptimizerState,
        scalars: Scalars,
        decays: Float[Tensor, " P"] | None,
    ) -> None:
        """Decays the parameters, then updates them by the sign of the average."""
        self.decay(theta, scalars, decays)
        mean = optimizer_state["exp_avg"]
        sign = torch.lerp(mean, grad, scalars["beta1_rest"], out=self.scratch(theta)).sign_()
        theta.sub_(sign.mul_(scalars["lr"]))
        mean.lerp_(grad, scalars["beta2_rest"])
