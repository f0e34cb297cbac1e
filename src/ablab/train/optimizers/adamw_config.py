"""Settings of AdamW. Does not import torch."""

from typing import ClassVar, Literal

from ablab.train.optimizer_config import OPTIMIZERS, OptimizerConfig


@OPTIMIZERS.register("adamw")
class AdamWConfig(OptimizerConfig):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), as in torch."""

    implementation: ClassVar[str] = "ablab.train.optimizers.adamw:AdamW"

    kind: str = "adamw"
    weight_decay: float = 0.01
    decay: Literal["all", "matrices"] = "all"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
