"""Settings of the transformer. Does not import torch."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ablab.config import Config, Neutral
from ablab.model.attention_config import AttentionConfig
from ablab.model.block_config import INPUT_POSITIONS, BlockConfig
from ablab.model.config import MODELS, ModelConfig
from ablab.tasks.config import TaskConfig

_OF_A_BLOCK = frozenset(BlockConfig.model_fields)


@MODELS.register("transformer")
class TransformerConfig(BlockConfig, ModelConfig):
    """Settings of :class:`ablab.model.transformer.Transformer`."""

    implementation: ClassVar[str] = "ablab.model.transformer:Transformer"

    kind: Literal["transformer"] = "transformer"
    """This model's name."""
    n_layers: int = Field(1, ge=1)
    """Blocks."""
    tied_embeddings: bool = False
    """Whether the logits use the embedding's own table (Press and Wolf, 2017)."""
    init_std: float | None = Field(None, ge=0)
    """Standard deviation of initial weights; null: 0.8 / sqrt(d_model). What writes into the
    residual path starts smaller by sqrt(2 n_layers) (Radford et al., 2019); biases start at 0."""
    blocks: Annotated[dict[int, BlockConfig], Neutral({})] = Field({})
    """What differs in single blocks, by their number from 0, as in
    ``model.blocks.1.attention.window=8``."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        """A block's settings are the model's, with its own in their place."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if data.get("init_std") is None:
            try:
                d_model = int(data.get("d_model", cls.model_fields["d_model"].default))
            except (TypeError, ValueError):
                return data  # the field's own validation says what is wrong
            data["init_std"] = 0.8 / max(1, d_model) ** 0.5
        blocks = data.get("blocks")
        if isinstance(blocks, dict):
            shared = {key: value for key, value in data.items() if key in _OF_A_BLOCK}
            data["blocks"] = {
                number: _merged(shared, own) if isinstance(own, dict) else own
                for number, own in blocks.items()
            }
        return data

    @model_validator(mode="after")
    def _blocks_fit(self) -> "TransformerConfig":
        for number, block in self.blocks.items():
            if not 0 <= number < self.n_layers:
                raise ValueError(
                    f"there is no block {number}: n_layers {self.n_layers} makes blocks 0 to "
                    f"{self.n_layers - 1}"
                )
            if block.d_model != self.d_model:
                raise ValueError(
                    f"blocks.{number}.d_model {block.d_model}: the residual stream has one width, "
                    f"d_model {self.d_model}"
                )
            if self.position in INPUT_POSITIONS and block.position == "none":
                raise ValueError(
                    f"blocks.{number}.position none: the model's {self.position} positions are "
                    f"added to the embedding, which every block reads; with rope or alibi a block "
                    f"by itself can go without"
                )
            if block.position in INPUT_POSITIONS and block.position != self.position:
                raise ValueError(
                    f"blocks.{number}.position {block.position} is added to the embedding, of all "
                    f"blocks at once; a block by itself can have rope, alibi or none"
                )
        return self

    def block(self, number: int) -> BlockConfig:
        """The settings of a block."""
        return self.blocks.get(number, self)

    def check_task(self, task: TaskConfig) -> None:
        """Learned positions end where training's samples do.

        Raises:
            ValueError: The task evaluates longer samples.
        """
        super().check_task(task)
        if self.position == "learned" and task.longest_input > task.input_length:
            raise ValueError(
                f"learned positions end at {task.input_length} tokens, and evaluation is to read "
                f"{task.longest_input}; expected position sinusoidal, rope, alibi or none"
            )

    def identity(self) -> dict[str, Any]:
        """Blocks enter by what differs from the model's own settings."""
        identity = super().identity()
        own = {key: value for key, value in identity.items() if key in _OF_A_BLOCK}
        blocks = {str(number): block.identity() for number, block in sorted(self.blocks.items())}
        identity["blocks"] = {number: each for number, each in blocks.items() if each != own}
        if not identity["blocks"]:
            del identity["blocks"]
        return identity


def _merged(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Settings with others in their place, mappings entry by entry."""
    result = dict(shared)
    for key, value in own.items():
        before = result.get(key)
        if isinstance(before, AttentionConfig):
            before = before.given
        elif isinstance(before, Config):
            before = before.model_dump()
        both = isinstance(before, dict) and isinstance(value, dict)
        result[key] = _merged(before, value) if both else value  # type: ignore[arg-type]
    return result
