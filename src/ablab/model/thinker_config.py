"""Settings of the thinker. Does not import torch."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ablab.config import Neutral
from ablab.model.block_config import INPUT_POSITIONS, MAX_WIDTH, BlockConfig
from ablab.model.config import MODELS, ModelConfig
from ablab.model.initial_config import InitialConfig
from ablab.tasks.config import TaskConfig

MAX_THOUGHTS = 1000


@MODELS.register("thinker")
class ThinkerConfig(InitialConfig, BlockConfig, ModelConfig):
    """Settings of :class:`ablab.model.thinker.Thinker`."""

    implementation: ClassVar[str] = "ablab.model.thinker:Thinker"

    kind: Literal["thinker"] = "thinker"
    """The name of this model."""
    n_latents: int = Field(8, ge=1, le=MAX_WIDTH)
    """The number of vectors in the memory."""
    n_thoughts: int = Field(1, ge=0, le=MAX_THOUGHTS)
    """The number of thinking steps, which share parameters."""
    eval_thoughts: Annotated[int | None, Neutral(None)] = Field(None, ge=0, le=MAX_THOUGHTS)
    """The number of thinking steps in evaluation; null: ``n_thoughts``. It is part of the run id,
    because stored evaluations depend on it."""

    @model_validator(mode="after")
    def _can_read(self) -> "ThinkerConfig":
        if self.attention is None:
            raise ValueError("a thinker needs attention to read its input")
        if self.attention.window is not None:
            raise ValueError("a thinker cannot use attention.window: its memory has no order")
        if self.position not in (*INPUT_POSITIONS, "none") and ":" not in self.position:
            raise ValueError(
                f"a thinker cannot use position {self.position}: its memory has no order; "
                f"expected learned, sinusoidal or none"
            )
        return self

    def check_task(self, task: TaskConfig) -> None:
        """Checks that the task has a question, which a thinker reads before it answers.

        Raises:
            ValueError: The task has no separate question and answer.
        """
        super().check_task(task)
        if task.source_length is None:
            raise ValueError(
                f"a thinker reads a question and then predicts the answer, but task {task.kind} "
                f"does not separate them"
            )

    def parameter_estimate(self, vocab_size: int) -> int:
        """See :meth:`ablab.model.config.ModelConfig.parameter_estimate`."""
        return 3 * self.matrix_entries + (2 * vocab_size + self.n_latents) * self.d_model
