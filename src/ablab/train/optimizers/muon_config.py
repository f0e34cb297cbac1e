"""Settings of Muon. Does not import torch."""

from typing import ClassVar, Literal

from ablab.train.optimizer_config import OPTIMIZERS, OptimizerConfig


@OPTIMIZERS.register("muon")
class MuonConfig(OptimizerConfig):
    """Muon (Jordan et al., 2024) for matrices, its rate scaled to AdamW's; AdamW for the rest."""

    implementation: ClassVar[str] = "ablab.train.optimizers.muon:Muon"
    formerly_used_names: ClassVar[bool] = True

    kind: str = "muon"
    weight_decay: float = 0.1
    decay: Literal["all", "matrices"] = "all"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.95
    nesterov: bool = True
