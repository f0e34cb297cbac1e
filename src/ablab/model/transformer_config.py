"""Settings of the transformer. Does not import torch."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ablab.config import Component, Config, Neutral
from ablab.model.attention_config import AttentionConfig
from ablab.model.block_config import INPUT_POSITIONS, WITH_EPS, BlockConfig
from ablab.model.config import MODELS, NORMS, ModelConfig
from ablab.model.initial_config import InitialConfig
from ablab.tasks.config import TaskConfig

MAX_LAYERS = 1000  # of the deepest transformers in the literature
_OF_A_BLOCK = frozenset(BlockConfig.model_fields)


class OutputNormConfig(Config):
    """Settings of the norm before the logits; what is null is that of the blocks' norms."""

    kind: Annotated[str | None, Component(NORMS)] = None
    """The norm; null: ``model.norm``, or none with ``norm_place: post``."""
    eps: float | None = Field(None, gt=0)
    """Its ε; null: ``model.norm_eps``."""
    bias: bool | None = None
    """Whether it has a bias; null: that of ``model.norm_bias``."""


@MODELS.register("transformer")
class TransformerConfig(InitialConfig, BlockConfig, ModelConfig):
    """Settings of :class:`ablab.model.transformer.Transformer`."""

    implementation: ClassVar[str] = "ablab.model.transformer:Transformer"

    kind: Literal["transformer"] = "transformer"
    """The name of this model."""
    n_layers: int = Field(1, ge=1, le=MAX_LAYERS)
    """The number of blocks."""
    tied_embeddings: bool = False
    """Whether the output layer shares the embedding's weights (Press and Wolf, 2017)."""
    output_norm: Annotated[OutputNormConfig, Neutral(OutputNormConfig())] = OutputNormConfig()
    """The norm before the logits; a name is short for its ``kind``."""
    blocks: Annotated[dict[int, BlockConfig], Neutral({})] = Field({})
    """Settings of single blocks that differ from those of the model, by block number from 0, as in
    ``model.blocks.1.attention.window=8``."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        """Fills in the settings of each block from those of the model."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if isinstance(data.get("output_norm"), str):
            data["output_norm"] = {"kind": data["output_norm"]}
        blocks = data.get("blocks")
        if isinstance(blocks, dict):
            shared = {key: value for key, value in data.items() if key in _OF_A_BLOCK}
            data["blocks"] = {
                number: _merged(shared, own) if isinstance(own, dict) else own
                for number, own in blocks.items()
            }
        return data

    @property
    def resolved_output_norm(self) -> tuple[str, bool, float | None]:
        """The kind of the norm before the logits, whether it has a bias, and its ε."""
        own = self.output_norm
        kind = own.kind or (self.norm if self.norm_place == "pre" else "none")
        bias = self.norms_have_bias if own.bias is None else own.bias
        return kind, bias, self.norm_eps if own.eps is None else own.eps

    @model_validator(mode="after")
    def _the_output_norm_exists(self) -> "TransformerConfig":
        own, kind = self.output_norm, self.resolved_output_norm[0]
        if kind == "none" and (own.eps is not None or own.bias is not None):
            raise ValueError(
                "output_norm.eps and output_norm.bias need a norm before the logits, but there is "
                "none; leave them out, or set output_norm.kind"
            )
        return self

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
        """Includes only blocks, and an output norm, that differ from those of the model."""
        identity = super().identity()
        plain = self.model_copy(update={"output_norm": OutputNormConfig()})
        if self.resolved_output_norm == plain.resolved_output_norm:
            identity.pop("output_norm", None)
        own = {key: value for key, value in identity.items() if key in _OF_A_BLOCK}
        kind, _, eps = self.resolved_output_norm
        if eps == 1e-5 and self.output_norm.eps is None and kind not in WITH_EPS:
            identity["norm_eps"] = eps  # which is not the default of that norm
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
