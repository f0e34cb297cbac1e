"""Settings of the loss. Does not import torch."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ablab.config import Component, Config, Neutral
from ablab.config.own_parts import check_function
from ablab.config.variants import Names

LOSSES = Names("loss", ("cross_entropy", "stablemax", "mse"))
KEY = "train.loss.kind"
LINES = (
    "def my_loss(logits, targets):  # (B, P, V), (B, P)",
    "    flat = torch.nn.functional.cross_entropy(",
    '        logits.flatten(0, 1), targets.flatten(), reduction="none"',
    "    )",
    "    return flat.view_as(targets)  # (B, P)",
)


class LossConfig(Config):
    """The loss of the predicted tokens: the mean over each sample, averaged over samples."""

    kind: Annotated[str, Component(LOSSES), Neutral("cross_entropy")] = "cross_entropy"
    """``cross_entropy`` in nats; ``stablemax``: cross-entropy with stablemax instead of softmax
    (Prieto et al., 2025); ``mse``: squared error between logits and one-hot targets, averaged over
    V (Hui and Belkin, 2020); or the import path of a function of logits (B, P, V) and targets
    (B, P) that gives the loss of each token, (B, P), or of each sample, (B,)."""
    label_smoothing: Annotated[float, Neutral(0.0)] = Field(0.0, ge=0, lt=1)
    """The probability that is spread evenly over all tokens, as in torch (not mse)."""
    z_loss: Annotated[float, Neutral(0.0)] = Field(0.0, ge=0)
    """The weight of the penalty (log Z)², where Z is the denominator of softmax (PaLM, Chowdhery et
    al., 2022; cross_entropy only)."""
    dtype: Literal["float32", "float64"] | None = None
    """The precision of the loss, to which logits are cast; null: float64 if ``train.precision`` is,
    else float32."""

    @model_validator(mode="after")
    def _settings_belong(self) -> "LossConfig":
        if self.label_smoothing and self.kind not in ("cross_entropy", "stablemax"):
            raise ValueError(
                f"label_smoothing is a setting of cross_entropy and stablemax, not {self.kind}"
            )
        if self.z_loss and self.kind != "cross_entropy":
            raise ValueError(f"z_loss is a setting of cross_entropy, not of {self.kind}")
        return self

    @field_validator("kind")
    @classmethod
    def _function_of_logits(cls, kind: str) -> str:
        """Checks that a user's loss is a function of logits and targets."""
        check_function(kind, ["logits", "targets"], "tokens", KEY, *LINES)
        return kind

    @property
    def is_own(self) -> bool:
        """Whether it is a user's function."""
        return ":" in self.kind

    @property
    def plain(self) -> bool:
        """Whether the loss is cross-entropy without smoothing or penalty."""
        return self.kind == "cross_entropy" and not self.label_smoothing and not self.z_loss
