"""Settings of the thinker. Does not import torch."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ablab.config import Neutral
from ablab.model.block_config import INPUT_POSITIONS, BlockConfig
from ablab.model.config import MODELS, ModelConfig
from ablab.tasks.config import TaskConfig


@MODELS.register("thinker")
class ThinkerConfig(BlockConfig, ModelConfig):
    """Settings of :class:`ablab.model.thinker.Thinker`."""

    implementation: ClassVar[str] = "ablab.model.thinker:Thinker"

    kind: Literal["thinker"] = "thinker"
    """This model's name."""
    n_latents: int = Field(8, ge=1)
    """Vectors of the memory."""
    n_thoughts: int = Field(1, ge=0)
    """Steps of thinking, which share their parameters."""
    eval_thoughts: Annotated[int | None, Neutral(None)] = Field(None, ge=0)
    """Steps of thinking in evaluation; null: ``n_thoughts``. Part of a run's id, for what is kept
    of its evaluation hangs on it."""
    init_std: float | None = Field(None, ge=0)
    """Standard deviation of initial weights; null: 0.8 / sqrt(d_model). What writes into the
    residual path starts smaller by the root of six, the parts that do; biases start at 0."""

    @model_validator(mode="before")
    @classmethod
    def _fill_init_std(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("init_std") is None:
            try:
                d_model = int(data.get("d_model", cls.model_fields["d_model"].default))
            except (TypeError, ValueError):
                return data  # the field's own validation says what is wrong
            data = data | {"init_std": 0.8 / max(1, d_model) ** 0.5}
        return data

    @model_validator(mode="after")
    def _can_read(self) -> "ThinkerConfig":
        if self.attention is None:
            raise ValueError("a thinker reads its input by attention, which cannot be left out")
        if self.attention.window is not None:
            raise ValueError("attention.window needs an order, which a thinker's memory has not")
        if self.position not in (*INPUT_POSITIONS, "none") and ":" not in self.position:
            raise ValueError(
                f"position {self.position} works on the distance between two tokens, which a "
                f"thinker's memory has not; expected learned, sinusoidal or none"
            )
        return self

    def check_task(self, task: TaskConfig) -> None:
        """A thinker reads a question whole before it answers.

        Raises:
            ValueError: The task has no border between the two.
        """
        super().check_task(task)
        if task.source_length is None:
            raise ValueError(
                f"a thinker reads a question and then writes its answer, and the task {task.kind} "
                f"has no border between the two"
            )
