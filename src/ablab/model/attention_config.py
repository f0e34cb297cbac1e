"""Settings of attention. Does not import torch."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ablab.config import Component, Config, Neutral
from ablab.model.config import ACTIVATIONS, ATTENTION_ACTIVATIONS, NORMS


class AttentionConfig(Config):
    """Settings of attention; ``model.attention=null`` removes attention."""

    bias: bool | None = None
    """Whether queries, keys and values have a bias; null: ``model.bias``."""
    output_projection: bool = True
    """Whether a linear layer (W_O) follows the concatenated outputs of the heads."""
    activation: Annotated[str, Component(ATTENTION_ACTIVATIONS), Neutral("softmax")] = "softmax"
    """The function that turns scores into weights; a name, or the import path of a function."""
    logit_bias: Annotated[float | Literal["-log n"] | None, Neutral(0.0)] = None
    """A constant added to the scores, or ``-log n``, where n is the maximum number of keys; null:
    ``-log n`` for sigmoid (Ramapuram et al., 2024), 0 for the others."""
    learned_logit_bias: Annotated[bool, Neutral(False)] = False
    """Whether each head learns its own bias, starting at ``logit_bias``."""
    temperature: Annotated[float, Neutral(1.0)] = Field(1.0, gt=0)
    """A divisor of the scores, in addition to the square root of ``d_head``."""
    temperature_of: Annotated[Literal["products", "scores"], Neutral("products")] = "products"
    """What the temperature τ divides. ``products``: q·k alone, s = q·k / (τ √K) + m + b, with the
    bias m of the position encoding (alibi) and ``logit_bias`` b. ``scores``: the products and the
    position encoding together, s = (q·k / √K + m) / τ + b."""
    learned_temperature: Annotated[bool, Neutral(False)] = False
    """Whether each head learns its own temperature (its logarithm), starting at ``temperature``."""
    qk_activation: Annotated[str, Component(ACTIVATIONS), Neutral("none")] = "none"
    """An element-wise activation of queries and keys, applied before their norm."""
    qk_norm: Annotated[str, Component(NORMS), Neutral("none")] = "none"
    """A norm of queries and keys over the axis of each head, applied before rope. All heads share
    its learned scale."""
    post_norm: Annotated[str, Component(NORMS), Neutral("none")] = "none"
    """A norm of the concatenated outputs of the heads, before the output projection."""
    window: Annotated[int | None, Neutral(None)] = Field(None, ge=1)
    """The number of positions visible to a query, including its own; null: all earlier ones."""
    n_kv_heads: Annotated[int | None, Neutral(None)] = Field(None, ge=1)
    """The number of key and value heads, each shared by n_heads / n_kv_heads query heads
    (grouped-query attention; Ainslie et al., 2023); null: ``n_heads``."""
    dropout: Annotated[float, Neutral(0.0)] = Field(0.0, ge=0, lt=1)
    """The fraction of attention weights that is zeroed in training."""

    @model_validator(mode="before")
    @classmethod
    def _fill_logit_bias(cls, data: Any) -> Any:
        """Fills in the bias, so that a run's configuration is complete."""
        if isinstance(data, dict) and data.get("logit_bias") is None:
            data = data | {"logit_bias": _own_bias(data.get("activation"))}
        return data

    def identity(self) -> dict[str, Any]:
        """Leaves out what a temperature of one would divide."""
        identity = super().identity()
        if self.temperature == 1.0 and not self.learned_temperature:
            identity.pop("temperature_of", None)
        return identity

    @property
    def given(self) -> dict[str, Any]:
        """The settings as plain data, without a bias that is the default of the activation."""
        own = self.logit_bias == _own_bias(self.activation)
        return self.model_dump(exclude={"logit_bias"} if own else None)

    @model_validator(mode="after")
    def _the_bias_matters(self) -> "AttentionConfig":
        if self.activation == "softmax" and (self.logit_bias != 0.0 or self.learned_logit_bias):
            raise ValueError(
                "logit_bias has no effect with softmax, which does not change when all scores of a "
                "row are shifted by a constant; leave it out, or choose another activation"
            )
        return self


def _own_bias(activation: Any) -> float | str:
    """The default bias of an activation."""
    return "-log n" if activation == "sigmoid" else 0.0
