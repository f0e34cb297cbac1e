"""Settings of the transformer. Does not import torch."""

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from ablab.config import Config
from ablab.model.config import MODELS, ModelConfig


class AttentionConfig(Config):
    """Settings of attention; ``model.attention=null`` leaves attention out."""

    bias: bool | None = None
    """Whether queries, keys and values have a bias; null: as ``model.bias``."""
    output_projection: bool = True
    """Whether the heads' outputs pass a linear layer (W_O); without it they are concatenated."""


class MlpConfig(Config):
    """Settings of the MLP; ``model.mlp=null`` leaves the MLP out."""

    activation: Literal["gelu"] = "gelu"
    """The hidden layer's activation: GELU(x) = x Φ(x) (Hendrycks and Gimpel, 2016)."""
    output_projection: bool = True
    """Whether a second linear layer follows; without it the MLP is one layer and ``d_mlp`` must
    equal ``d_model``."""


@MODELS.register("transformer")
class TransformerConfig(ModelConfig):
    """Settings of :class:`ablab.model.transformer.Transformer`."""

    implementation: ClassVar[str] = "ablab.model.transformer:Transformer"

    kind: Literal["transformer"] = "transformer"
    """This model's name."""
    n_layers: int = Field(1, ge=1)
    """Blocks."""
    d_model: int = Field(32, ge=1)
    """Width of the residual stream (D)."""
    n_heads: int = Field(4, ge=1)
    """Attention heads (H)."""
    d_head: int | None = Field(None, ge=1)
    """Width of a head (K); null: ``d_model / n_heads``."""
    d_mlp: int | None = Field(None, ge=1)
    """Width of the MLP's hidden layer (M); null: four times ``d_model``, or ``d_model`` where the
    MLP has no output projection."""
    attention: AttentionConfig | None = AttentionConfig()
    """Attention's own settings; null leaves attention out."""
    mlp: MlpConfig | None = MlpConfig()
    """The MLP's own settings; null leaves the MLP out."""
    position: Literal["learned", "none"] = "learned"
    """``learned``: a vector for each position is added to the embedding."""
    norm: Literal["layer", "none"] = "layer"
    """``layer``: LayerNorm (Ba, Kiros and Hinton, 2016) before each part and before the logits."""
    residual: bool = True
    """Whether each part's output is added to its input; without it the output takes its place."""
    bias: bool = True
    """Whether linear layers and norms have a bias."""
    tied_embeddings: bool = False
    """Whether the logits use the embedding's own table (Press and Wolf, 2017)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of entries zeroed after the embedding and after each part, in training only."""
    init_std: float | None = Field(None, ge=0)
    """Standard deviation of initial weights; null: 0.8 / sqrt(d_model). What writes into the
    residual path starts smaller by sqrt(2 n_layers) (Radford et al., 2019); biases start at 0."""

    @model_validator(mode="before")
    @classmethod
    def _fill_widths(cls, data: Any) -> Any:
        """Sizes that are left open are resolved, so that a run's configuration is complete."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        try:
            d_model = int(data.get("d_model", cls.model_fields["d_model"].default))
            n_heads = int(data.get("n_heads", cls.model_fields["n_heads"].default))
        except (TypeError, ValueError):
            return data  # the fields' own validation says what is wrong
        if d_model < 1:
            return data
        if data.get("d_head") is None and n_heads > 0:
            if d_model % n_heads and data.get("attention", ...) is not None:
                raise ValueError(
                    f"d_model {d_model} is not divisible by n_heads {n_heads}; "
                    f"change one of them, or give d_head"
                )
            data["d_head"] = max(1, d_model // n_heads)
        if data.get("d_mlp") is None:
            mlp = data.get("mlp")
            mlp = mlp.model_dump() if isinstance(mlp, MlpConfig) else mlp
            single = isinstance(mlp, dict) and mlp.get("output_projection", True) is False
            data["d_mlp"] = d_model if single else 4 * d_model
        if data.get("init_std") is None:
            data["init_std"] = 0.8 / d_model**0.5
        attention = data.get("attention", {})
        if isinstance(attention, AttentionConfig):
            attention = attention.model_dump()
        if isinstance(attention, dict) and attention.get("bias") is None:
            data["attention"] = attention | {"bias": data.get("bias", True)}
        return data

    def identity(self) -> dict[str, Any]:
        """The sizes of a part that is left out shape nothing."""
        identity = super().identity()
        if self.attention is None:
            del identity["n_heads"], identity["d_head"]
        if self.mlp is None:
            del identity["d_mlp"]
        return identity

    @model_validator(mode="after")
    def _parts_fit(self) -> "TransformerConfig":
        d_model, d_head = self.d_model, self.d_head or 0
        if self.attention and not self.attention.output_projection:
            width = d_head * self.n_heads
            if width != d_model:
                raise ValueError(
                    f"without attention.output_projection the heads' outputs ({self.n_heads} × "
                    f"{d_head}) must be as wide as d_model {d_model}"
                )
        if self.mlp and not self.mlp.output_projection and self.d_mlp != d_model:
            raise ValueError(
                f"without mlp.output_projection d_mlp {self.d_mlp} must equal d_model {d_model}"
            )
        return self
