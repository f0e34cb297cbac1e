"""Settings of the bigram model. Does not import torch."""

from typing import ClassVar, Literal

from pydantic import Field

from ablab.model.config import MODELS, ModelConfig


@MODELS.register("bigram")
class BigramConfig(ModelConfig):
    """Settings of :class:`ablab.model.bigram.Bigram`."""

    implementation: ClassVar[str] = "ablab.model.bigram:Bigram"

    kind: Literal["bigram"] = "bigram"
    """The name of this model."""
    init_std: float = Field(1.0, ge=0)
    """The standard deviation of the initial table; 1 is torch's default for embeddings."""

    def parameter_estimate(self, vocab_size: int) -> int:
        """See :meth:`ablab.model.config.ModelConfig.parameter_estimate`."""
        return vocab_size**2
