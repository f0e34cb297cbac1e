"""Settings of attention. Does not import torch."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ablab.config import Component, Config, Neutral
from ablab.model.config import ACTIVATIONS, ATTENTION_ACTIVATIONS, NORMS


class AttentionConfig(Config):
    """Settings of attention; ``model.attention=null`` leaves attention out."""

    bias: bool | None = None
    """Whether queries, keys and values have a bias; null: as ``model.bias``."""
    output_projection: bool = True
    """Whether the heads' outputs pass a linear layer (W_O); without it they are concatenated."""
    activation: Annotated[str, Component(ATTENTION_ACTIVATIONS), Neutral("softmax")] = "softmax"
    """What turns scores into weights; or an import path to a function of the scores."""
    logit_bias: Annotated[float | Literal["-log n"] | None, Neutral(0.0)] = None
    """What is added to the scores, ``-log n`` with n the keys that are read at most; null:
    ``-log n`` for sigmoid (Ramapuram et al., 2024), 0 for the others."""
    learned_logit_bias: Annotated[bool, Neutral(False)] = False
    """Whether each head learns its own, from ``logit_bias`` on."""
    temperature: Annotated[float, Neutral(1.0)] = Field(1.0, gt=0)
    """What the scores are divided by, beside the root of ``d_head``."""
    learned_temperature: Annotated[bool, Neutral(False)] = False
    """Whether each head learns the logarithm of its own, from ``temperature`` on."""
    qk_activation: Annotated[str, Component(ACTIVATIONS), Neutral("none")] = "none"
    """An element-wise activation of queries and keys, before their norm."""
    qk_norm: Annotated[str, Component(NORMS), Neutral("none")] = "none"
    """A norm of queries and keys, for each head over its own axis, before they are turned (rope);
    a scale that it learns is shared by the heads."""
    post_norm: Annotated[str, Component(NORMS), Neutral("none")] = "none"
    """A norm of the heads' outputs side by side, before the output projection."""
    window: Annotated[int | None, Neutral(None)] = Field(None, ge=1)
    """How many positions each one sees, itself the last of them; null: all before it."""
    n_kv_heads: Annotated[int | None, Neutral(None)] = Field(None, ge=1)
    """Heads of keys and values, each shared by n_heads / n_kv_heads query heads (grouped queries;
    Ainslie et al., 2023); null: one for each."""
    dropout: Annotated[float, Neutral(0.0)] = Field(0.0, ge=0, lt=1)
    """Share of the weights that is zeroed in training."""

    @model_validator(mode="before")
    @classmethod
    def _fill_logit_bias(cls, data: Any) -> Any:
        """The bias is resolved, so that a run's configuration is complete."""
        if isinstance(data, dict) and data.get("logit_bias") is None:
            data = data | {"logit_bias": _own_bias(data.get("activation"))}
        return data

    @property
    def given(self) -> dict[str, Any]:
        """The settings as plain data, less a bias that follows from the activation."""
        own = self.logit_bias == _own_bias(self.activation)
        return self.model_dump(exclude={"logit_bias"} if own else None)

    @model_validator(mode="after")
    def _the_bias_matters(self) -> "AttentionConfig":
        if self.activation == "softmax" and (self.logit_bias != 0.0 or self.learned_logit_bias):
            raise ValueError(
                "softmax does not see a logit_bias: its weights stay the same when all scores of a "
                "row are shifted alike; leave it out, or choose another activation"
            )
        return self


def _own_bias(activation: Any) -> float | str:
    """The bias of an activation that is given none."""
    return "-log n" if activation == "sigmoid" else 0.0
