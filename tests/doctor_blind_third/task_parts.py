"""Two correct tasks, written to the task interface without the tasks of ablab."""

from typing import ClassVar

import numpy as np

from ablab.tasks.base import Batch, Task
from ablab.tasks.config import ACCURACIES, IGNORED, TaskConfig
from ablab.tasks.scores import accuracies


class RecurrenceConfig(TaskConfig):
    """Settings of ``Recurrence``."""

    measure_directions: ClassVar = ACCURACIES
    kind: str = "tests.doctor_blind_third.task_parts:Recurrence"
    p: int = 13
    length: int = 10
    shortest: int = 6

    @property
    def vocab_size(self) -> int:
        return self.p + 1

    @property
    def input_length(self) -> int:
        return self.length

    @property
    def padding(self) -> int:
        return self.p

    @property
    def ragged(self) -> bool:
        return True


class SumConfig(TaskConfig):
    """Settings of ``Sum``."""

    measure_directions: ClassVar = ACCURACIES
    kind: str = "tests.doctor_blind_third.task_parts:Sum"
    p: int = 11

    @property
    def vocab_size(self) -> int:
        return self.p + 1

    @property
    def input_length(self) -> int:
        return 4

    @property
    def source_length(self) -> int:
        return self.input_length


class Table(Task):
    """Samples are rows of a table; a fifth of the rows, the same for every seed, is held out."""

    columns: int

    def __init__(self, config) -> None:
        self.config = config

    def rows(self, seed, held_out):
        """The numbers of the rows on one side of the split."""
        size = self.config.p**self.columns
        order = np.random.default_rng(self.split_seed(seed)).permutation(size)
        return order[: size // 5] if held_out else order[size // 5 :]

    def split_seed(self, seed):
        return 7

    def draw(self, seed, first_step, steps, batch_size):
        rows = self.rows(seed, held_out=False)
        batches = [
            self.batch(rng.choice(rows, batch_size), rng)
            for rng in (np.random.default_rng((seed, first_step + k)) for k in range(steps))
        ]
        tokens, targets = ([getattr(b, name) for b in batches] for name in ("tokens", "targets"))
        return Batch(np.stack(tokens), np.stack(targets))

    def held_out(self, samples):
        rng = np.random.default_rng(99)
        return self.batch(rng.permutation(self.rows(0, held_out=True))[:samples], rng)

    def digits(self, rows):
        """The digits in base p: (..., columns)."""
        return np.stack(np.unravel_index(rows, (self.config.p,) * self.columns), axis=-1)

    def batch(self, rows, rng):
        """The samples of these rows."""
        raise NotImplementedError

    def measures(self, logits, tokens, targets):
        return accuracies(logits, targets)


class Recurrence(Table):
    """Each number is the sum of the two before it, modulo p; samples have different lengths.

    For example ``2 5 7 12 6 5 11 _ _ _``, where ``_`` is padding, which is not predicted.
    """

    Config = RecurrenceConfig
    columns = 2
    ahead = 1

    @property
    def predicted(self):
        return slice(1, None)

    def series(self, rows):
        first = self.digits(rows)
        found = [first[..., 0], first[..., 1]]
        while len(found) < self.config.length + 2:
            found.append((found[-1] + found[-2]) % self.config.p)
        return np.stack(found, axis=-1)

    def batch(self, rows, rng):
        config, series = self.config, self.series(rows)
        lengths = rng.integers(config.shortest, config.length + 2, len(rows))[:, None]
        padded = np.where(np.arange(series.shape[-1]) < lengths, series, config.padding)
        tokens = padded[:, : config.length]
        targets = padded[:, 1 + self.ahead : config.length + self.ahead]
        return Batch(tokens, self.ignoring(targets))

    def ignoring(self, targets):
        return np.where(targets == self.config.padding, IGNORED, targets)


class Sum(Table):
    """Three numbers and ``=``; their sum modulo p is predicted at ``=``."""

    Config = SumConfig
    columns = 3

    @property
    def predicted(self):
        return slice(self.config.input_length - 1, None)

    def numbers(self, rows):
        return self.digits(rows)

    def batch(self, rows, rng):
        numbers = self.numbers(rows)
        equals = np.full((len(rows), 1), self.config.p)
        tokens = np.concatenate([numbers, equals], axis=-1)
        return Batch(self.shown(tokens), numbers.sum(-1, keepdims=True) % self.config.p)

    def shown(self, tokens):
        return tokens
