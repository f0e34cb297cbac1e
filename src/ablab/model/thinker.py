"""The thinker: a sequence-to-sequence model with a memory. Axes: B, T, D, V; L latents.

question → read → memory → thoughts → write → logits. This is the "memory + step" model of the
thinker logbook, with cross-attention as in Perceiver IO (Jaegle et al., 2021).
"""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ablab.model.base import Model
from ablab.model.block import Block
from ablab.model.forward import Forward
from ablab.model.initial import draw_parameters
from ablab.model.norm import apply_norm, stream_norm
from ablab.model.roles import Role
from ablab.model.thinker_config import ThinkerConfig
from ablab.model.transformer import input_position, located

_PARTS = 6  # attention and MLP of read, thought and write


class Thinker(Model):
    """A sequence-to-sequence model that predicts all positions of the answer at once.

    A memory of ``n_latents`` learned vectors reads the question by cross-attention. It is updated
    by ``n_thoughts`` steps of self-attention and MLP that share parameters. Each position of the
    answer then reads the memory by cross-attention. The model never sees the tokens of the answer.

    Args:
        config: The settings.
        vocab_size: The number of tokens in the vocabulary (V).
        input_length: The number of positions of question and answer together.
        source_length: The number of positions of the question, which come first.
    """

    ablab_roles: ClassVar = {
        "memory_embedding": Role.EMBEDDING,
        "answer_embedding": Role.EMBEDDING,
        "unembedding.weight": Role.UNEMBEDDING,
    }

    def __init__(
        self, config: ThinkerConfig, vocab_size: int, input_length: int, source_length: int
    ) -> None:
        super().__init__(config, vocab_size, input_length)
        d_model = config.d_model
        self.config = config
        self.source_length = source_length
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.positional_embedding = input_position(config.position, source_length, d_model)
        self.source_norm = stream_norm(config)
        self.memory_embedding = nn.Parameter(torch.empty(config.n_latents, d_model))
        self.read = Block(config, source_length, causal=False)
        self.thought = Block(config, config.n_latents, causal=False)
        self.memory_norm = stream_norm(config)
        self.answer_embedding = nn.Parameter(torch.empty(input_length, d_model))
        self.write = Block(config, config.n_latents, causal=False)
        self.norm = stream_norm(config)
        self.unembedding = nn.Linear(d_model, vocab_size, bias=config.bias)

    @classmethod
    def make(
        cls, config: ThinkerConfig, vocab_size: int, input_length: int, source_length: int | None
    ) -> "Thinker":
        """See :meth:`ablab.model.base.Model.make`."""
        if source_length is None:
            raise ValueError("a thinker needs a task with a question (source_length)")
        return cls(config, vocab_size, input_length, source_length)

    def initialise(self, generator: torch.Generator) -> None:
        """Normal weights and memory with ``init_std``, zero biases, norms at one."""
        draw_parameters(self, self.config, _PARTS, generator)

    def forward(
        self, tokens: Int[Tensor, "B T"], forward: Forward | None = None
    ) -> Float[Tensor, "B T V"]:
        """The logits of the next token at every position; only those of the answer are meaningful.

        Tokens after the question are ignored.
        """
        forward = Forward() if forward is None else forward
        samples, length = tokens.shape
        longest = len(self.answer_embedding)
        if length > longest:
            raise ValueError(f"{length} tokens given; this model reads at most {longest}")
        question = tokens[:, : self.source_length]
        x = forward.site("embed", forward.kernels.embed(question, self.embedding.weight))
        if self.positional_embedding is not None:
            x = x + forward.site("pos_embed", located(self.positional_embedding, x, forward))
        x = self.source_norm(forward.dropout(x, self.config.dropout, self.training))  # (B, S, D)
        memory = self.memory_embedding.expand(samples, -1, -1)  # (B, L, D)
        memory = self.read(memory, forward.within("read"), x)
        for number in range(self._thoughts):
            memory = self.thought(memory, forward.within(f"thoughts.{number}"))
        memory = forward.site("memory", self.memory_norm(memory))
        answer = self.answer_embedding[:length].expand(samples, -1, -1)  # (B, T, D)
        answer = self.write(answer, forward.within("write"), memory)
        answer = forward.site("ln_final", apply_norm(self.norm, answer, "ln_final", forward))
        return forward.site("logits", self.unembedding(answer))

    @property
    def _thoughts(self) -> int:
        evaluated = self.config.eval_thoughts
        if self.training or evaluated is None:
            return self.config.n_thoughts
        return evaluated
