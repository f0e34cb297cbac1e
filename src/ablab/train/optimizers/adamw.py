"""AdamW. Axes: R runs, P parameters."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ablab.train.optimizer import Optimizer, OptimizerState, Scalars
from ablab.train.optimizers.adam import adam_scalars, adam_step
from ablab.train.optimizers.adamw_config import AdamWConfig
from ablab.train.optimizers.one_pass import (
    adam_in_one_pass,
    parts_that_decay,
    updates_in_one_pass,
)
from ablab.train.parameter_layout import ParameterLayout


class AdamW(Optimizer[AdamWConfig]):
    """Adam with decoupled decay (Loshchilov and Hutter, 2019), like ``torch.optim.AdamW``."""

    Config: ClassVar = AdamWConfig
    state_names = ("exp_avg", "exp_avg_sq")

    def __init__(self, config: AdamWConfig, layout: ParameterLayout) -> None:
        super().__init__(config, layout)
        self._parts: list[tuple[slice, bool]] | None = None

    def scalars(self, config: AdamWConfig, step: int, lr: float) -> dict[str, float]:
        """The weights of the averages, bias corrections, step size and decay."""
        decay = lr * config.weight_decay
        return adam_scalars(config.betas, config.eps, step, lr) | {"decay": decay}

    def update(
        self,
        theta: Float[Tensor, "R P"],
        grad: Float[Tensor, "R P"],
        optimizer_state: OptimizerState,
        scalars: Scalars,
        decays: Float[Tensor, " P"] | None,
    ) -> None:
        """Decays the parameters, then applies Adam's update."""
        if updates_in_one_pass(theta, self):
            self._parts = self._parts or parts_that_decay(decays, theta.shape[1])
            adam_in_one_pass(theta, grad, optimizer_state, scalars, self._parts, self)
            return
        self.decay(theta, scalars, decays)
        adam_step(theta, grad, optimizer_state, scalars, self, self.scratch(theta))
