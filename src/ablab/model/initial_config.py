"""Settings of initial weights. Does not import torch."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ablab.config import Config, Neutral


class InitialConfig(Config):
    """How initial weights are drawn; biases start at zero, and scales of norms at one."""

    init_std: float | None = Field(None, ge=0)
    """The standard deviation σ of initial weights; null: 0.8 / sqrt(d_model)."""
    init_depth_scaling: Annotated[bool, Neutral(True)] = True
    """Whether matrices that write to the residual stream use σ divided by √(2 n_layers) in a
    transformer, also in one without attention or MLPs, and by √6 in a thinker (Radford et al.,
    2019). False: σ for all."""
    init_distribution: Annotated[Literal["normal", "uniform"], Neutral("normal")] = "normal"
    """``normal``: N(0, σ²); ``uniform``: U(-√3 σ, √3 σ), which also has the standard deviation σ
    (Glorot and Bengio, 2010)."""
    init_truncation: Annotated[float | None, Neutral(None)] = Field(None, gt=0)
    """The largest absolute value of a normal weight, in units of its σ; the distribution is cut
    there, as by torch.nn.init.trunc_normal_, and σ is that before the cut. Null: no limit."""

    @model_validator(mode="before")
    @classmethod
    def _fill_init_std(cls, data: Any) -> Any:
        """Fills in ``init_std``, so that a run's configuration is complete."""
        if not isinstance(data, dict) or data.get("init_std") is not None:
            return data
        try:
            d_model = int(data.get("d_model", cls.model_fields["d_model"].default))
        except (TypeError, ValueError):
            return data  # the field's own validation reports the error
        return data | {"init_std": 0.8 / max(1, d_model) ** 0.5}

    @model_validator(mode="after")
    def _only_normal_weights_are_cut(self) -> "InitialConfig":
        if self.init_truncation is not None and self.init_distribution != "normal":
            raise ValueError(
                f"init_truncation cuts a normal distribution, not a {self.init_distribution} one"
            )
        return self
