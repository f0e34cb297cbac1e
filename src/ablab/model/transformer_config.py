"""Settings of the transformer. Does not import torch."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ablab.config import Config, Neutral
from ablab.model.attention_config import AttentionConfig
from ablab.model.block_config import INPUT_POSITIONS, BlockConfig
from ablab.model.config import MODELS, ModelConfig
from ablab.tasks.config import TaskConfig

MAX_LAYERS = 1000  # of the deepest transformers in the literature
_OF_A_BLOCK = frozenset(BlockConfig.model_fields)


@MODELS.register("transformer")
class TransformerConfig(BlockConfig, ModelConfig):
    """Settings of :class:`ablab.model.transformer.Transformer`."""

    implementation: ClassVar[str] = "ablab.model.transformer:Transformer"

    kind: Literal["transformer"] = "transformer"
    """The name of this model."""
    n_layers: int = Field(1, ge=1, le=MAX_LAYERS)
    """The number of blocks."""
    tied_embeddings: bool = False
    """Whether the output layer shares the embedding's weights (Press and Wolf, 2017)."""
    init_std: float | None = Field(None, ge=0)
    """The standard deviation of initial weights; null: 0.8 / sqrt(d_model). Matrices that write to
    the residual stream use ``init_std / sqrt(2 n_layers)`` (Radford et al., 2019); biases start
    at 0."""
    blocks: Annotated[dict[int, BlockConfig], Neutral({})] = Field({})
    """Settings of single blocks that differ from those of the model, by block number from 0, as in
    ``model.blocks.1.attention.window=8``."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        """Fills in ``init_std``, and the settings of each block from those of the model."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if data.get("init_std") is None:
            try:
                d_model = int(data.get("d_model", cls.model_fields["d_model"].default))
            except (TypeError, ValueError):
                return data  # the field's own validation reports the error
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
                    f"there is no block {number}: with n_layers {self.n_layers}, blocks are 0 to "
                    f"{self.n_layers - 1}"
                )
            if block.d_model != self.d_model:
                raise ValueError(
                    f"blocks.{number}.d_model {block.d_model} must equal d_model {self.d_model}, "
                    f"the width of the residual stream"
                )
            if self.position in INPUT_POSITIONS and block.position == "none":
                raise ValueError(
                    f"blocks.{number}.position none: {self.position} positions are added to the "
                    f"embedding, which all blocks read; only rope and alibi can be left out in a "
                    f"single block"
                )
            if block.position in INPUT_POSITIONS and block.position != self.position:
                raise ValueError(
                    f"blocks.{number}.position {block.position} is added to the embedding, which "
                    f"all blocks read; a single block can have rope, alibi or none"
                )
        return self

    def block(self, number: int) -> BlockConfig:
        """The settings of a block."""
        return self.blocks.get(number, self)

    def check_task(self, task: TaskConfig) -> None:
        """Checks that learned positions cover the samples of the task.

        Raises:
            ValueError: The task evaluates samples that are longer than those in training.
        """
        super().check_task(task)
        if self.position == "learned" and task.longest_input > task.input_length:
            raise ValueError(
                f"learned positions end at {task.input_length} tokens, but evaluation reads "
                f"{task.longest_input}; expected position sinusoidal, rope, alibi or none"
            )

    def parameter_estimate(self, vocab_size: int) -> int:
        """See :meth:`ablab.model.config.ModelConfig.parameter_estimate`."""
        blocks = sum(block.matrix_entries for block in self.blocks.values())
        blocks += (self.n_layers - len(self.blocks)) * self.matrix_entries
        return blocks + vocab_size * self.d_model * (1 if self.tied_embeddings else 2)

    def identity(self) -> dict[str, Any]:
        """Includes only blocks whose settings differ from those of the model."""
        identity = super().identity()
        own = {key: value for key, value in identity.items() if key in _OF_A_BLOCK}
        blocks = {str(number): block.identity() for number, block in sorted(self.blocks.items())}
        identity["blocks"] = {number: each for number, each in blocks.items() if each != own}
        if not identity["blocks"]:
            del identity["blocks"]
        return identity


def _merged(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Settings overridden by others; mappings are merged recursively."""
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
