"""The optimizers, each run with its own settings. Axes: R runs, P parameters."""

import torch
from jaxtyping import Float
from torch import Tensor

from ablab.train.config import TrainConfig
from ablab.train.muon import Muon
from ablab.train.optimizer import Optimizer, OptimizerState, Scalars, adam_scalars, adam_step
from ablab.train.parameter_layout import ParameterLayout


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), as ``torch.optim.AdamW``."""

    state_names = ("exp_avg", "exp_avg_sq")

    def scalars(self, config: TrainConfig, step: int, lr: float) -> dict[str, float]:
        """Averages' weights, bias corrections, step size and decay."""
        return adam_scalars(config, step, lr) | {"decay": self._decay(config, lr)}

    def _decay(self, config: TrainConfig, lr: float) -> float:
        return lr * (config.weight_decay or 0.0)

    def update(
        self,
        theta: Float[Tensor, "R P"],
        grad: Float[Tensor, "R P"],
        optimizer_state: OptimizerState,
        scalars: Scalars,
        decays: Float[Tensor, " P"] | None,
    ) -> None:
        """Decays the parameters, then takes Adam's step."""
        self.decay(theta, scalars, decays)
        adam_step(theta, grad, optimizer_state, scalars, self.scratch(theta))


class Adam(AdamW):
    """Adam (Kingma and Ba, 2015) with decay as an L2 penalty, as ``torch.optim.Adam``."""

    def _decay(self, config: TrainConfig, lr: float) -> float:
        return config.weight_decay or 0.0

    def update(
        self,
        theta: Float[Tensor, "R P"],
        grad: Float[Tensor, "R P"],
        optimizer_state: OptimizerState,
        scalars: Scalars,
        decays: Float[Tensor, " P"] | None,
    ) -> None:
        """Adds the penalty's gradient, then takes Adam's step."""
        grad = self.penalise(theta, grad, scalars, decays)
        adam_step(theta, grad, optimizer_state, scalars, self.scratch(theta))


class Sgd(Optimizer):
    """Gradient descent with momentum and an L2 penalty, as ``torch.optim.SGD``."""

    state_names = ("momentum_buffer",)

    def scalars(self, config: TrainConfig, step: int, lr: float) -> dict[str, float]:
        """Rate, momentum and decay."""
        return {"lr": lr, "momentum": config.momentum, "decay": config.weight_decay or 0.0}

    def update(
        self,
        theta: Float[Tensor, "R P"],
        grad: Float[Tensor, "R P"],
        optimizer_state: OptimizerState,
        scalars: Scalars,
        decays: Float[Tensor, " P"] | None,
    ) -> None:
        """Adds the penalty's gradient, then steps along the momentum."""
        grad = self.penalise(theta, grad, scalars, decays)
        buffer = optimizer_state["momentum_buffer"].mul_(scalars["momentum"]).add_(grad)
        theta.sub_(self._direction(grad, buffer, scalars) * scalars["lr"])

    def _direction(self, grad: Tensor, buffer: Tensor, scalars: Scalars) -> Tensor:
        return buffer


class NesterovSgd(Sgd):
    """Gradient descent with Nesterov's momentum, as ``torch.optim.SGD(nesterov=True)``."""

    def _direction(self, grad: Tensor, buffer: Tensor, scalars: Scalars) -> Tensor:
        return grad + scalars["momentum"] * buffer


class Lion(Optimizer):
    """The sign of an average of gradients, with decoupled decay (Chen et al., 2023).

    θ ← θ − lr (sign(β₁ m + (1 − β₁) g) + λ θ), then m ← β₂ m + (1 − β₂) g: "Symbolic Discovery of
    Optimization Algorithms", algorithm 2.
    """

    state_names = ("exp_avg",)

    def scalars(self, config: TrainConfig, step: int, lr: float) -> dict[str, float]:
        """Averages' weights, rate and decay."""
        beta1, beta2 = config.betas
        return {
            "beta1_rest": 1 - beta1,
            "beta2_rest": 1 - beta2,
            "lr": lr,
            "decay": lr * (config.weight_decay or 0.0),
        }

    def update(
        self,
        theta: Float[Tensor, "R P"],
        grad: Float[Tensor, "R P"],
        optimizer_state: OptimizerState,
        scalars: Scalars,
        decays: Float[Tensor, " P"] | None,
    ) -> None:
        """Decays the parameters, then steps by the sign."""
        self.decay(theta, scalars, decays)
        mean = optimizer_state["exp_avg"]
        sign = torch.lerp(mean, grad, scalars["beta1_rest"], out=self.scratch(theta)).sign_()
        theta.sub_(sign.mul_(scalars["lr"]))
        mean.lerp_(grad, scalars["beta2_rest"])


def make_optimizer(config: TrainConfig, layout: ParameterLayout) -> Optimizer:
    """The optimizer that a configuration names, for parameters that lie as ``layout`` says."""
    match config.optimizer:
        case "adamw":
            return AdamW()
        case "adam":
            return Adam()
        case "sgd":
            return NesterovSgd() if config.nesterov else Sgd()
        case "lion":
            return Lion()
        case "muon":
            return Muon(layout, nesterov=config.nesterov)
