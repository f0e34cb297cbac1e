"""A previous-token head and a duplicate-token head, each the only head of a model with an effect.

Each model has one block with two heads and no MLP. The other head attends evenly to all visible
positions, and its output is zero.

**Previous token.** The scores are β [s = t - 1] for the query position t and the key position s,
from one-hot positions. The first position sees only itself. The head copies the token, and the
unembedding reads the copy with the weight γ: the logit of token v at position t is
γ [v = token at t - 1].

**Duplicate token** (Wang et al., "Interpretability in the wild", 2022). The scores are
β [token at s = token at t] - β/2 [s = t], so the head attends evenly to all earlier occurrences of
the token, or to its own position if there is none, where the score is β/2. It copies the position
s, and the answer compares its mean s̄ with t: the logit of *seen* is γ (t - s̄), that of *new* is
γ/2, and that of the symbols zero. As t - s̄ is 0 for a new symbol and at least 1 otherwise, the
right answer is always ahead by γ/2 or more.
"""

from dataclasses import dataclass

import numpy as np

from ablab.model.transformer import Transformer
from ablab.tasks.config import TaskConfig
from tests.analysis.planted import patterns
from tests.analysis.planted.stream import (
    add_harmless_biases,
    blank_model,
    make_stream,
    write_embedding,
    write_head,
    write_reader,
)
from tests.analysis.planted.tasks import PreviousConfig, RepetitionConfig

SHARPNESS = 40.0  # β
LOGIT = 8.0  # γ


@dataclass(frozen=True)
class TokenHead:
    """A model with one head of a known kind, and its planted facts.

    Attributes:
        model: The model.
        task: The task that it solves.
        head: The block and the number of the head.
        idle_head: The block and the number of the head without output.
        sharpness: β; scores hold up to the same constant for all keys of a query.
        logit: γ.
    """

    model: Transformer
    task: TaskConfig
    head: tuple[int, int]
    idle_head: tuple[int, int]
    sharpness: float
    logit: float

    def patterns(self, tokens):
        """The patterns of both heads, (B, H, T, T), from tokens (B, T) alone."""
        is_previous = isinstance(self.task, PreviousConfig)
        own = patterns.previous_token(tokens) if is_previous else patterns.duplicate_token(tokens)
        found = {self.head[1]: own, self.idle_head[1]: patterns.idle(tokens)}
        return np.stack([found[0], found[1]], axis=1)


def previous_token_head(n_symbols=6, length=8, *, scale=1.0, norm="none", bias=False, seed=0):
    """The previous-token head; its number is 1. It solves :class:`.tasks.Previous`.

    Args:
        n_symbols: The number of symbols.
        length: The length of a sequence.
        scale: The scale of the residual stream; logits do not depend on it.
        norm: The norm, accounted for.
        bias: Whether there are biases.
        seed: The seed of the basis of the residual stream.
    """
    task = PreviousConfig(n_symbols=n_symbols, length=length)
    names = _numbered(token=n_symbols, previous=n_symbols, position=length)
    stream = make_stream(names, norm, scale, bias, seed)
    model = _blank(stream, task, seed)
    tokens, positions = stream.table("token", n_symbols), stream.table("position", length)
    copies = stream.table("previous", n_symbols)
    write_embedding(stream, model, tokens, positions)
    write_head(
        stream, model.blocks[0], 1,
        query=SHARPNESS * positions[1:], key=positions[:-1], value=tokens, output=copies,
    )  # fmt: skip
    write_reader(stream, model.unembedding, model.norm, LOGIT * copies)
    add_harmless_biases(model, seed)
    return TokenHead(model, task, (0, 1), (0, 0), SHARPNESS, LOGIT)


def duplicate_token_head(n_symbols=6, length=8, *, scale=1.0, norm="none", bias=False, seed=0):
    """The duplicate-token head; its number is 0. It solves :class:`.tasks.Repetition`.

    Args:
        n_symbols: The number of symbols.
        length: The length of a sequence.
        scale: The scale of the residual stream; logits do not depend on it.
        norm: The norm, accounted for.
        bias: Whether there are biases.
        seed: The seed of the basis of the residual stream.
    """
    task = RepetitionConfig(n_symbols=n_symbols, length=length)
    names = (*_numbered(token=n_symbols, position=length), "place", "place found")
    stream = make_stream(names, norm, scale, bias, seed)
    model = _blank(stream, task, seed)
    tokens, positions = stream.table("token", n_symbols), stream.table("position", length)
    places = np.arange(length)[:, None] / length * stream["place"]
    answers = np.zeros((2, len(stream.names)))
    embedded = np.concatenate([tokens, answers])  # the answers are never read as input
    write_embedding(stream, model, embedded, positions + places)
    write_head(
        stream, model.blocks[0], 0,
        query=SHARPNESS * np.concatenate([tokens, -positions / 2]),
        key=np.concatenate([tokens, positions]),
        value=stream["place"][None], output=stream["place found"][None],
    )  # fmt: skip
    logits, constants = np.zeros((task.vocab_size, len(stream.names))), np.zeros(task.vocab_size)
    logits[task.seen] = LOGIT * length * (stream["place"] - stream["place found"])
    constants[task.new] = LOGIT / 2
    write_reader(stream, model.unembedding, model.norm, logits, constants)
    add_harmless_biases(model, seed)
    return TokenHead(model, task, (0, 0), (0, 1), SHARPNESS, LOGIT)


def _numbered(**counts):
    """The names of coordinates, such as ``token 0``."""
    return tuple(f"{name} {i}" for name, count in counts.items() for i in range(count))


def _blank(stream, task, seed):
    """A block with two heads and no MLP."""
    width = task.n_symbols + task.length
    return blank_model(stream, task, seed, n_heads=2, d_head=width, mlp=None)
