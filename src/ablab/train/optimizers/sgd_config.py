"""Settings of SGD. Does not import torch."""

from typing import ClassVar, Literal

from ablab.train.optimizer_config import OPTIMIZERS, OptimizerConfig


@OPTIMIZERS.register("sgd")
class SgdConfig(OptimizerConfig):
    """Gradient descent with momentum and an L2 penalty, as in torch."""

    implementation: ClassVar[str] = "ablab.train.optimizers.sgd:Sgd"

    kind: str = "sgd"
    weight_decay: float = 0.0
    decay: Literal["all", "matrices"] = "all"
    momentum: float = 0.0
    nesterov: bool = False
