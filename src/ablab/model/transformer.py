"""The decoder-only transformer. Axes: B, T, D, V.

tokens → embed (+ pos_embed) → blocks → ln_final → logits. In a block, attention and MLP read the
residual stream and add their output to it.
"""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ablab.config.own_parts import part_error
from ablab.model.attention import Attention
from ablab.model.base import Model
from ablab.model.block import Block
from ablab.model.find_position import ADDED, KEY, find_position
from ablab.model.forward import Forward
from ablab.model.initial import draw_parameters
from ablab.model.norm import apply_norm, create_norm
from ablab.model.parts import InputPosition
from ablab.model.roles import Role, is_position_wise
from ablab.model.transformer_config import TransformerConfig

# Sites of the last block that always cover all positions.
_OF_ALL = ("resid_pre", "k_input", "v_input", "attn.k", "attn.v", "attn.rot_k")


class Transformer(Model):
    """Blocks between an embedding and the logits. Attention and MLP of a block are optional."""

    ablab_roles: ClassVar = {"unembedding.weight": Role.UNEMBEDDING}
    ablab_position_wise = True
    caches = True

    def __init__(self, config: TransformerConfig, vocab_size: int, input_length: int) -> None:
        super().__init__(config, vocab_size, input_length)
        d_model = config.d_model
        self.config = config
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.positional_embedding = input_position(config.position, input_length, d_model)
        self.blocks = nn.ModuleList(
            [Block(config.block(number), input_length) for number in range(config.n_layers)]
        )
        for number in range(config.n_layers):
            own = config.block(number).position
            if own != config.position and issubclass(find_position(own), InputPosition):
                raise ValueError(f"blocks.{number}.position {own} is added to the embedding")
        kind, bias, eps = config.resolved_output_norm
        key = "model.norm" if config.output_norm.kind is None else "model.output_norm.kind"
        self.norm = create_norm(kind, d_model, bias, eps, key)
        self.unembedding = nn.Linear(
            d_model, vocab_size, bias=config.bias and not config.tied_embeddings
        )
        if config.tied_embeddings:
            self.unembedding.weight = self.embedding.weight
        parts = (self.blocks[-1], self.norm)  # these can skip earlier positions
        self.trims = is_position_wise(self) and all(map(_by_position, parts))

    @property
    def longest(self) -> int | None:
        """The number of learned positions; None for other encodings."""
        position = self.positional_embedding
        return None if position is None else position.limit

    def trims_site(self, site: str) -> bool:
        """Whether a site comes after the keys and values of the last block."""
        own = site.removeprefix(f"blocks.{len(self.blocks) - 1}.")
        if own == "ln1.scale" and self.config.block(len(self.blocks) - 1).norm_place == "pre":
            return False
        if own == site:
            return site in ("ln_final.scale", "ln_final", "logits")
        return own not in _OF_ALL

    def initialise(self, generator: torch.Generator) -> None:
        """Normal weights with ``init_std``, zero biases, norms at one."""
        draw_parameters(self, self.config, 2 * self.config.n_layers, generator)

    def forward(
        self, tokens: Int[Tensor, "B T"], forward: Forward | None = None
    ) -> Float[Tensor, "B Q V"]:
        """The logits of the next token at every position, or at those from ``forward.first`` on.

        For earlier positions, the last block only computes keys and values. Q is the number of
        output positions.
        """
        forward = Forward() if forward is None else forward
        x = forward.site("embed", forward.kernels.embed(tokens, self.embedding.weight))
        if self.positional_embedding is not None:
            x = x + forward.site("pos_embed", located(self.positional_embedding, x, forward))
        x = forward.dropout(x, self.config.dropout, self.training)
        for number, block in enumerate(self.blocks):
            last = number == len(self.blocks) - 1
            x = block(x, forward.within(f"blocks.{number}"), first=forward.first if last else 0)
        x = forward.site("ln_final", apply_norm(self.norm, x, "ln_final", forward))
        return forward.site("logits", self.unembedding(x))


def _by_position(part: nn.Module) -> bool:
    """Whether everything in a part is position-wise, including attention's activations."""
    return all(
        is_position_wise(each)
        and (not isinstance(each, Attention) or is_position_wise(each.activation))
        for each in part.modules()
    )


def input_position(name: str, length: int, d_model: int) -> InputPosition | None:
    """The position encoding of that name; None if it is not added to the embedding."""
    found = find_position(name)
    return found(length, d_model) if issubclass(found, InputPosition) else None


def located(
    position: InputPosition, x: Float[Tensor, "B T D"], forward: Forward
) -> Float[Tensor, "B T D"]:
    """The position encoding of each embedding in ``x``.

    Raises:
        ValueError: There are more tokens than positions.
        InputError: The encoding has another shape than (T, D).
    """
    last = forward.past + x.shape[1]
    if position.limit is not None and last > position.limit:
        raise ValueError(f"{last} tokens given; this model reads at most {position.limit}")
    added: Tensor = position(forward.past, x.shape[1], x.device)
    shape = tuple(added.shape) if isinstance(added, Tensor) else type(added).__name__
    if shape != tuple(x.shape[1:]):
        what = f"gives {shape}; expected (T, D), here {tuple(x.shape[1:])}"
        raise part_error(KEY, type(position).__name__, what, *ADDED)
    return added.to(x.dtype).expand_as(x)
