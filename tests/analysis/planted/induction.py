"""An induction head: two blocks that continue a sequence as it went on the last time.

Elhage et al., "A mathematical framework for transformer circuits" (2021); Olsson et al.,
"In-context learning and induction heads" (2022). Each block has two heads, one of which is idle: it
attends evenly to all visible positions, and its output is zero.

1. The previous-token head (block 0) has the scores β [s = t - 1] and copies the token at t - 1 to a
   subspace of its own. The first position sees only itself, so it gets its own token as "previous".
2. The induction head (block 1) has the scores
   β [token before s = token at t] - β [s = 0], so it attends evenly to all positions after an
   occurrence of the current token, including an occurrence at t - 1. Without any, it attends evenly
   to all positions but the first. It copies the token at s, and the unembedding reads the copy with
   the weight γ: the logit of v at t is γ times the share of v among the tokens attended to.

The task is recall: at a query, the key has occurred once before, and its value followed it. On a
sequence of m different tokens that is repeated, the head is right at every position of the
repetition, with the loss log(1 + (V - 1) exp(-γ)), and each position t attends to t - m + 1 alone.

**Matrices.** Of the induction head, W_U W_O W_V W_E is γ times the identity. Its keys are composed
with the previous-token head. The composition score of Elhage et al. is ‖A B‖ / (‖A‖ ‖B‖), with
Frobenius norms. Here B = W_O W_V = Σ_v p_v t_vᵀ with the unit vectors t_v (the token is v) and p_v
(the previous token is v), so ‖B‖ = √V; and A = W_Qᵀ W_K = β Σ_v t_v (p_v - s_0)ᵀ with s_0 for the
first position, so ‖A‖ = β √(2V). As A B = β Σ_v t_v t_vᵀ has the norm β √V, the score is 1 / √(2V).
The compositions of queries and values are zero, as neither reads what the first block writes.

With an MLP, both blocks have one of random ReLU neurons which write only to directions that nothing
reads.
"""

import math
from dataclasses import dataclass

import numpy as np

from ablab.model.transformer import Transformer
from ablab.tasks.recall_config import RecallConfig
from tests.analysis.planted import patterns
from tests.analysis.planted.stream import (
    Stream,
    add_harmless_biases,
    blank_model,
    make_stream,
    write_embedding,
    write_head,
    write_reader,
    write_writer,
)

SHARPNESS = 40.0  # β
LOGIT = 8.0  # γ
UNREAD = 4
NEURONS = 8


@dataclass(frozen=True)
class InductionHead:
    """A model with an induction head, and its planted facts.

    Attributes:
        model: The model.
        task: The task that it solves.
        stream: The residual stream.
        previous_token_head: The block and the number of the previous-token head.
        induction_head: The block and the number of the induction head.
        idle_heads: The blocks and the numbers of the heads without output.
        sharpness: β; scores hold up to the same constant for all keys of a query.
        logit: γ.
        loss: The loss at each query of the task, and at each position of a repetition.
        k_composition: The composition score of the keys of the induction head with the
            previous-token head; those of queries and values are zero.
    """

    model: Transformer
    task: RecallConfig
    stream: Stream
    previous_token_head: tuple[int, int]
    induction_head: tuple[int, int]
    idle_heads: tuple[tuple[int, int], ...]
    sharpness: float
    logit: float
    loss: float
    k_composition: float

    def patterns(self, tokens):
        """The patterns in both blocks, each (B, H, T, T), from tokens (B, T) alone."""
        idle = patterns.idle(tokens)
        first, second = patterns.previous_token(tokens), patterns.induction(tokens)
        return np.stack([idle, first], axis=1), np.stack([second, idle], axis=1)


def induction_head(*, scale=1.0, norm="none", bias=False, mlp=False, seed=0):
    """The induction head, for pairs of 10 keys and 10 values.

    Args:
        scale: The scale of the residual stream; logits do not depend on it.
        norm: The norm, accounted for.
        bias: Whether there are biases.
        mlp: Whether each block has an MLP without effect.
        seed: The seed of the basis of the residual stream and of the MLPs.
    """
    task = RecallConfig(n_pairs=6, n_queries=4, n_keys=10, n_values=10)
    vocab, length = task.vocab_size, task.input_length
    counts = {
        "token": vocab,
        "previous": vocab,
        "next": vocab,
        "position": length,
        "unread": UNREAD,
    }
    names = tuple(f"{name} {i}" for name, count in counts.items() for i in range(count))
    stream = make_stream(names, norm, scale, bias, seed)
    model = blank_model(
        stream, task, seed, n_layers=2, n_heads=2, d_head=max(vocab, length), d_mlp=NEURONS,
        mlp={"activation": "relu"} if mlp else None,
    )  # fmt: skip
    tokens, positions = stream.table("token", vocab), stream.table("position", length)
    previous, following = stream.table("previous", vocab), stream.table("next", vocab)
    write_embedding(stream, model, tokens, positions)
    write_head(
        stream, model.blocks[0], 1,
        query=SHARPNESS * positions[1:], key=positions[:-1], value=tokens, output=previous,
    )  # fmt: skip
    write_head(
        stream, model.blocks[1], 0,
        query=SHARPNESS * tokens, key=previous - positions[0], value=tokens, output=following,
    )  # fmt: skip
    for number, block in enumerate(model.blocks if mlp else ()):
        _write_idle_mlp(stream, block, (seed, number))
    write_reader(stream, model.unembedding, model.norm, LOGIT * following)
    add_harmless_biases(model, seed)
    return InductionHead(
        model=model,
        task=task,
        stream=stream,
        previous_token_head=(0, 1),
        induction_head=(1, 0),
        idle_heads=((0, 0), (1, 1)),
        sharpness=SHARPNESS,
        logit=LOGIT,
        loss=math.log1p((vocab - 1) * math.exp(-LOGIT)),
        k_composition=1 / math.sqrt(2 * vocab),
    )


def _write_idle_mlp(stream, block, seed):
    """Random neurons that write to directions which nothing reads."""
    rng = np.random.default_rng(seed)
    inputs = 0.3 * rng.normal(size=(NEURONS, len(stream.names)))
    outputs = 0.3 * rng.normal(size=(NEURONS, UNREAD)) @ stream.table("unread", UNREAD)
    write_reader(stream, block.mlp.linear, block.norm2, stream.scale * inputs)
    write_writer(stream, block.mlp.projection, outputs)
