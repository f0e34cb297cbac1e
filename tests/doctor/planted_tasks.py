"""Small tasks, each healthy or with one bug planted, by import path."""

from typing import ClassVar

import numpy as np

from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.base import Batch, Task
from ablab.tasks.config import IGNORED, TaskConfig
from ablab.tasks.random import Stream, integers


class SumsConfig(AdditionConfig):
    kind: str
    n_digits: int = 4
    target: str = "all"


class Sums(Addition):
    """Addition under another name."""

    Config = SumsConfig


class UnshiftedSums(Sums):
    """Targets are the tokens at their own positions."""

    def draw(self, *arguments):
        batch = super().draw(*arguments)
        return Batch(batch.tokens, batch.tokens[..., self.predicted])


class ShiftedTwiceSums(Sums):
    """Targets are the tokens two positions later."""

    def draw(self, *arguments):
        batch = super().draw(*arguments)
        return Batch(batch.tokens, np.roll(batch.targets, -1, axis=-1))


class FewSumsConfig(SumsConfig):
    train_size: ClassVar[int] = 448


class FewSums(Sums):
    """A data set of 512 problems; the last 64 are held out."""

    Config = FewSumsConfig
    trained = 448

    def _data(self) -> Batch:
        everything = super().draw(7, 1, 1, 512)
        return Batch(everything.tokens[0], everything.targets[0])

    def draw(self, seed, first_step, steps, batch_size):
        rows = integers(seed, Stream.BATCH, first_step, steps, batch_size, self.trained)
        data = self._data()
        return Batch(data.tokens[rows], data.targets[rows])

    def held_out(self, samples):
        data = self._data()
        return Batch(data.tokens[448:][:samples], data.targets[448:][:samples])


class HardlySeeded(FewSums):
    """One sample in eight is drawn with the seed."""

    def draw(self, seed, first_step, steps, batch_size):
        rows = integers(3, Stream.BATCH, first_step, steps, batch_size, self.trained)
        own = integers(seed, Stream.BATCH, first_step, steps, batch_size, self.trained)
        rows = np.where(own % 8 == 0, own, rows)
        data = self._data()
        return Batch(data.tokens[rows], data.targets[rows])


class TestInsideTrain(FewSums):
    """Trains on all 512."""

    trained = 512


class NumberedConfig(TaskConfig):
    kind: str
    vocab_size: ClassVar[int] = 10
    input_length: ClassVar[int] = 40
    train_size: ClassVar[int] = 400_000


class Numbered(Task):
    """The digits of a number over and over; an epoch has 400,000 numbers."""

    Config = NumberedConfig
    held_out_from = 400_000

    def __init__(self, config):
        self.config = config

    @property
    def predicted(self):
        return slice(None)

    def draw(self, seed, first_step, steps, batch_size):
        return self._digits(integers(seed, Stream.BATCH, first_step, steps, batch_size, 400_000))

    def held_out(self, samples):
        return self._digits(self.held_out_from + np.arange(samples) * 199)

    def measures(self, logits, tokens, targets):
        return {}

    def _digits(self, numbers):
        digits = numbers[..., None] // 10 ** (np.arange(41) % 6) % 10
        return Batch(digits[..., :-1], digits[..., 1:])


class NumberedInside(Numbered):
    """Holds out numbers that an epoch visits."""

    held_out_from = 0


class RaggedConfig(TaskConfig):
    kind: str
    vocab_size: ClassVar[int] = 21
    input_length: ClassVar[int] = 9
    ragged: ClassVar[bool] = True
    padding: ClassVar[int] = 0


class Ragged(Task):
    """Five to nine random symbols, then padding; the next symbol is predicted."""

    Config = RaggedConfig
    fill = IGNORED

    def __init__(self, config):
        self.config = config

    @property
    def predicted(self):
        return slice(None)

    def draw(self, seed, first_step, steps, batch_size):
        return self._samples(seed, Stream.BATCH, first_step, steps, batch_size)

    def held_out(self, samples):
        batch = self._samples(0, Stream.EVALUATION, 0, 1, samples)
        return Batch(batch.tokens[0], batch.targets[0])

    def measures(self, logits, tokens, targets):
        return {}

    def _samples(self, seed, stream, first, rows, samples):
        drawn = integers(seed, stream, first, rows, samples * 11, 20).reshape(rows, samples, 11)
        length = 5 + drawn[..., :1] % 5
        symbols = np.where(np.arange(10) < length, drawn[..., 1:] + 1, 0)
        targets = symbols[..., 1:]
        return Batch(symbols[..., :-1], np.where(targets == 0, self.fill, targets))


class PaddingPredicted(Ragged):
    fill = 0


class SilentConfig(RaggedConfig):
    padding: ClassVar[None] = None


class UndeclaredPaddingPredicted(PaddingPredicted):
    """Says nothing of its padding."""

    Config = SilentConfig
