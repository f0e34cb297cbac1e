"""Settings of a block. Does not import torch."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ablab.config import Component, Config, Neutral
from ablab.model.attention_config import AttentionConfig
from ablab.model.config import NORMS, POSITIONS
from ablab.model.mlp_config import MlpConfig

INPUT_POSITIONS = ("learned", "sinusoidal")  # added to the embedding, not used in blocks
MAX_WIDTH = 10**6
WITH_EPS = {"layer", "rms", "none"}  # norms whose ε is 1e-5 by default, or that have none
_WITHOUT_SCORE_BIAS = (*INPUT_POSITIONS, "rope", "none")


class BlockConfig(Config):
    """Settings of a block. Those of the model are the defaults of all its blocks."""

    d_model: int = Field(32, ge=1, le=MAX_WIDTH)
    """The width of the residual stream (D)."""
    n_heads: int = Field(4, ge=1, le=MAX_WIDTH)
    """The number of attention heads (H)."""
    d_head: int | None = Field(None, ge=1, le=MAX_WIDTH)
    """The width of a head (K); null: ``d_model / n_heads``."""
    d_mlp: int | None = Field(None, ge=1, le=4 * MAX_WIDTH)
    """The width of the MLP's hidden layer (M); null: ``4 * d_model``, or ``d_model`` if the MLP has
    no output projection."""
    attention: AttentionConfig | None = AttentionConfig()
    """Settings of attention; null: no attention."""
    mlp: MlpConfig | None = MlpConfig()
    """Settings of the MLP; null: no MLP."""
    position: Annotated[str, Component(POSITIONS)] = "learned"
    """The position encoding: ``learned`` or ``sinusoidal`` vectors added to the embedding, ``rope``
    or ``alibi`` in attention, or ``none``."""
    norm: Annotated[str, Component(NORMS)] = "layer"
    """The norm of attention and MLP, and, unless ``output_norm`` differs, before the logits."""
    norm_place: Annotated[Literal["pre", "post"], Neutral("pre")] = "pre"
    """``pre`` normalizes the input of attention and MLP (Radford et al., 2019). ``post`` normalizes
    the sum of input and output (Vaswani et al., 2017), without a norm before the logits."""
    norm_eps: Annotated[float | None, Neutral(None)] = Field(None, gt=0)
    """ε of all norms, the term that keeps their denominators above zero; null: 1e-5 for layer and
    rms, 1e-12 for frobenius."""
    norm_bias: Annotated[bool | None, Neutral(None)] = None
    """Whether norms have a bias; null: ``model.bias``. Only layer norms can have one."""
    residual: bool = True
    """Whether the output of attention and MLP is added to their input."""
    layer_scale: Annotated[float | None, Neutral(None)] = None
    """The initial value of a learned factor per channel of the outputs of attention and MLP
    (Touvron et al., 2021); null: no such factor."""
    bias: bool = True
    """Whether linear layers have a bias, and norms unless ``norm_bias`` is given."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """The fraction of entries zeroed in training, after the embedding, attention and MLP."""

    @model_validator(mode="before")
    @classmethod
    def _fill_widths(cls, data: Any) -> Any:
        """Fills in sizes that are left out, so that a run's configuration is complete."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        try:
            d_model = int(data.get("d_model", cls.model_fields["d_model"].default))
            n_heads = int(data.get("n_heads", cls.model_fields["n_heads"].default))
        except (TypeError, ValueError):
            return data  # the fields' own validation reports the error
        if d_model < 1 or isinstance(data.get("d_model"), bool):
            return data
        if data.get("d_head") is None and n_heads > 0:
            if d_model % n_heads and data.get("attention", ...) is not None:
                raise ValueError(
                    f"d_model {d_model} is not divisible by n_heads {n_heads}; "
                    f"change one of them, or set d_head"
                )
            data["d_head"] = max(1, d_model // n_heads)
        if data.get("d_mlp") is None:
            mlp = data.get("mlp")
            mlp = mlp.model_dump() if isinstance(mlp, MlpConfig) else mlp
            single = isinstance(mlp, dict) and mlp.get("output_projection", True) is False
            data["d_mlp"] = d_model if single else 4 * d_model
        attention = data.get("attention", {})
        if isinstance(attention, AttentionConfig):
            attention = attention.model_dump()
        if isinstance(attention, dict) and attention.get("bias") is None:
            data["attention"] = attention | {"bias": data.get("bias", True)}
        return data

    @model_validator(mode="after")
    def _parts_fit(self) -> "BlockConfig":
        d_model, d_head = self.d_model, self.d_head or 0
        if self.attention and not self.attention.output_projection:
            width = d_head * self.n_heads
            if width != d_model:
                raise ValueError(
                    f"without attention.output_projection, n_heads {self.n_heads} × d_head "
                    f"{d_head} must equal d_model {d_model}"
                )
        if self.attention and self.n_heads % (self.attention.n_kv_heads or 1):
            raise ValueError(
                f"n_heads {self.n_heads} is not divisible by attention.n_kv_heads "
                f"{self.attention.n_kv_heads}"
            )
        if self.attention and self.position == "rope" and d_head % 2:
            raise ValueError(
                f"rope rotates pairs of a head's entries, so d_head {d_head} must be even"
            )
        if self.mlp and not self.mlp.output_projection and self.d_mlp != d_model:
            raise ValueError(
                f"without mlp.output_projection, d_mlp {self.d_mlp} must equal d_model {d_model}"
            )
        return self

    @property
    def norms_have_bias(self) -> bool:
        """``norm_bias``, or ``bias`` if it is null."""
        return self.bias if self.norm_bias is None else self.norm_bias

    @property
    def norm_kinds(self) -> set[str]:
        """The norms that the block uses."""
        kinds = {self.norm}
        if self.attention is not None:
            kinds |= {self.attention.qk_norm, self.attention.post_norm}
        return kinds if self.mlp is None else kinds | {self.mlp.norm}

    @property
    def matrix_entries(self) -> int:
        """The number of entries of the block's matrices."""
        entries = 0
        if self.attention is not None:
            heads = 2 * self.n_heads + 2 * (self.attention.n_kv_heads or self.n_heads)
            entries += self.d_model * (self.d_head or 0) * heads
        if self.mlp is not None:
            entries += self.d_model * (self.d_mlp or 0) * (3 if self.mlp.gated else 2)
        return entries

    def identity(self) -> dict[str, Any]:
        """Leaves out the sizes of parts that it does not have, and what equals the default."""
        identity = super().identity()
        if self.norms_have_bias == self.bias:
            identity.pop("norm_bias", None)
        if self.norm_eps == 1e-5 and self.norm_kinds <= WITH_EPS:
            identity.pop("norm_eps", None)
        if self.attention is not None and self.position in _WITHOUT_SCORE_BIAS:
            identity["attention"].pop("temperature_of", None)
        if self.attention is None:
            del identity["n_heads"], identity["d_head"]
        if self.mlp is None:
            del identity["d_mlp"]
        return identity
