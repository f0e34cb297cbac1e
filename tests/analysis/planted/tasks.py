"""Tasks that the planted heads solve, by import path: ``tests.analysis.planted.tasks:NAME``."""

import numpy as np
from pydantic import Field

from ablab.tasks.base import Batch, Task
from ablab.tasks.config import ACCURACIES, TaskConfig
from ablab.tasks.random import Stream, integers
from ablab.tasks.scores import accuracies

_EVALUATION_SEED = 0


class SymbolsConfig(TaskConfig):
    """Sequences of independent, uniform symbols."""

    measure_directions = ACCURACIES

    n_symbols: int = Field(6, ge=2)
    """The number of distinct symbols."""
    length: int = Field(8, ge=2)
    """The length of a sequence."""

    @property
    def input_length(self):
        return self.length


class PreviousConfig(SymbolsConfig):
    """Settings of :class:`Previous`."""

    kind: str = "tests.analysis.planted.tasks:Previous"
    """The import path of the task."""

    @property
    def vocab_size(self):
        return self.n_symbols


class RepetitionConfig(SymbolsConfig):
    """Settings of :class:`Repetition`."""

    kind: str = "tests.analysis.planted.tasks:Repetition"
    """The import path of the task."""

    @property
    def new(self):
        """The answer where a symbol occurs for the first time."""
        return self.n_symbols

    @property
    def seen(self):
        """The answer where a symbol has occurred before."""
        return self.n_symbols + 1

    @property
    def vocab_size(self):
        return self.n_symbols + 2


class _Symbols(Task):
    """Draws sequences; a subclass computes the targets."""

    def __init__(self, config):
        self.config = config

    def draw(self, seed, first_step, steps, batch_size):
        return self._samples(seed, Stream.BATCH, first_step, steps, batch_size)

    def held_out(self, samples):
        batch = self._samples(_EVALUATION_SEED, Stream.EVALUATION, 0, 1, samples)
        return Batch(batch.tokens[0], batch.targets[0])

    def measures(self, logits, tokens, targets):
        return accuracies(logits, targets)

    def _samples(self, seed, stream, first, rows, samples):
        length = self.config.length
        drawn = integers(seed, stream, first, rows, samples * length, self.config.n_symbols)
        tokens = drawn.reshape(rows, samples, length)
        return Batch(tokens, self.answers(tokens))


class Previous(_Symbols):
    """The target at each position but the first is the previous symbol: 2 0 5 gives 2 0."""

    Config = PreviousConfig

    @property
    def predicted(self):
        return slice(1, None)

    def answers(self, tokens):
        return tokens[..., :-1]


class Repetition(_Symbols):
    """The target is whether the symbol has occurred before: 2 0 2 gives new, new, seen."""

    Config = RepetitionConfig

    @property
    def predicted(self):
        return slice(0, None)

    def answers(self, tokens):
        length = tokens.shape[-1]
        equal = tokens[..., :, None] == tokens[..., None, :]
        earlier = np.tri(length, k=-1, dtype=bool)
        found = (equal & earlier).any(-1)
        return np.where(found, self.config.seen, self.config.new)
