"""Settings of Adam. Does not import torch."""

from typing import ClassVar, Literal

from ablab.train.optimizer_config import OPTIMIZERS, OptimizerConfig


@OPTIMIZERS.register("adam")
class AdamConfig(OptimizerConfig):
    """Adam (Kingma and Ba, 2015), with weight decay as an L2 penalty, as in torch."""

    implementation: ClassVar[str] = "ablab.train.optimizers.adam:Adam"

    kind: str = "adam"
    weight_decay: float = 0.0
    decay: Literal["all", "matrices"] = "all"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
