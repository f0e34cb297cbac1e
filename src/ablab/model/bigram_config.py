"""Settings of the bigram model. Does not import torch."""

from typing import ClassVar, Literal

from pydantic import Field

from ablab.model.config import MODELS, ModelConfig


@MODELS.register("bigram")
class BigramConfig(ModelConfig):
    """Settings of :class:`ablab.model.bigram.Bigram`."""

    implementation: ClassVar[str] = "ablab.model.bigram:Bigram"

    kind: Literal["bigram"] = "bigram"
    """This model's name."""
    init_std: float = Field(1.0, ge=0)
    """Standard deviation of the table's initial entries (torch's own for an embedding is 1)."""
