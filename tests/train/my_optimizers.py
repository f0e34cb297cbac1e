"""Optimizers of a user's own, for tests."""

from typing import Annotated, ClassVar

import torch

from ablab.train.optimizer import Optimizer
from ablab.train.optimizer_config import OptimizerConfig, PerRun
from ablab.train.optimizers.lion import Lion


class SignConfig(OptimizerConfig):
    """Settings of the signs; two are the optimizer's own, one of which each run has for itself."""

    weight_decay: float = 0.25
    scale: Annotated[float, PerRun()] = 1.0
    rows: bool = False


class Signs(Optimizer[SignConfig]):
    """Steps by the gradient's sign and keeps nothing."""

    Config: ClassVar = SignConfig

    def scalars(self, config, step, lr):
        return {"lr": lr * config.scale, "decay": lr * config.weight_decay}

    def update(self, theta, grad, optimizer_state, scalars, decays):
        self.decay(theta, scalars, decays)
        theta.sub_(grad.sign() * scalars["lr"])


class Factored(Optimizer[OptimizerConfig]):
    """A factored second moment of each matrix (Shazeer and Stern, 2018) and one number for others.

    Its state: an average like the parameters, rows and columns of each matrix, a mean square of
    each other parameter, a counter, and the parameters to begin with.
    """

    def __init__(self, config, layout):
        super().__init__(config, layout)
        self._shapes = dict(zip(layout.names, layout.shapes, strict=True))
        self.state_names = ("momentum", "count", "start", "few")
        for name, shape in self._shapes.items():
            self.state_names += (f"row/{name}", f"column/{name}") if len(shape) == 2 else ()

    def initial_state(self, theta):
        runs = len(theta)
        state = {
            "momentum": torch.zeros_like(theta),
            "count": torch.zeros(runs, dtype=torch.long),
            "start": theta.clone(),
            "few": theta.new_zeros(runs, len(self._shapes)),
        }
        for name, shape in self._shapes.items():
            if len(shape) == 2:
                state[f"row/{name}"] = theta.new_full((runs, shape[0]), 1e-3)
                state[f"column/{name}"] = theta.new_full((runs, shape[1]), 1e-3)
        return state

    def scalars(self, config, step, lr):
        return {"lr": lr}

    def update(self, theta, grad, optimizer_state, scalars, decays):
        optimizer_state["count"].add_(1)
        weight = 1 / (1 + optimizer_state["count"].to(theta.dtype))[:, None]  # (R, 1)
        grads, steps = self.layout.views(grad), []
        for number, (name, shape) in enumerate(self._shapes.items()):
            own = grads[name]
            if len(shape) == 2:
                row, column = optimizer_state[f"row/{name}"], optimizer_state[f"column/{name}"]
                row.lerp_(own.square().mean(2), weight)
                column.lerp_(own.square().mean(1), weight)
                square = row[:, :, None] * column[:, None] / row.mean(1)[:, None, None]
                steps.append((own / (square.sqrt() + 1e-8)).flatten(1))
            else:
                few = optimizer_state["few"][:, number : number + 1]
                few.lerp_(own.flatten(1).square().mean(1, keepdim=True), weight)
                steps.append(own.flatten(1) / (few.sqrt() + 1e-8))
        momentum = optimizer_state["momentum"].lerp_(torch.cat(steps, dim=1), 0.1)
        theta.sub_(scalars["lr"] * (momentum + 0.01 * (theta - optimizer_state["start"])))


class Alone(Signs):
    """Says that it cannot be stacked."""

    stackable = False


class OwnLion(Lion):
    """Lion as it is, under a name of one's own."""


class Forgetful(Signs):
    """Makes state that it does not name."""

    def initial_state(self, theta):
        return {"extra": torch.zeros_like(theta)}


class Flat(Signs):
    """Makes state without a run axis."""

    state_names = ("step",)

    def initial_state(self, theta):
        return {"step": torch.tensor(0.0)}


class Counting(torch.optim.Optimizer):
    """Keeps a number that is no tensor."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["count"] = 1


class Open(torch.optim.SGD):
    """Takes any argument."""

    def __init__(self, params, lr=0.1, **others):
        super().__init__(params, lr=lr, **others)


class Numberless(Signs):
    """Steps of a fixed size, for which no number is needed."""

    def scalars(self, config, step, lr):
        return {}

    def update(self, theta, grad, optimizer_state, scalars, decays):
        theta.sub_(grad.sign(), alpha=1e-3)
