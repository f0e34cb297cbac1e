"""Settings of Lion. Does not import torch."""

from typing import ClassVar, Literal

from ablab.train.optimizer_config import OPTIMIZERS, OptimizerConfig


@OPTIMIZERS.register("lion")
class LionConfig(OptimizerConfig):
    """Lion (Chen et al., 2023); ``betas`` are the weights of the update and of the average."""

    implementation: ClassVar[str] = "ablab.train.optimizers.lion:Lion"

    kind: str = "lion"
    weight_decay: float = 0.0
    decay: Literal["all", "matrices"] = "all"
    betas: tuple[float, float] = (0.9, 0.99)  # the defaults of the paper
