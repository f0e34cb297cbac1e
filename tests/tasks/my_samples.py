"""Tasks of a user's own, without tables and similar samples."""

from typing import Literal

import numpy as np

from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.base import Batch, Task
from ablab.tasks.config import TaskConfig
from ablab.tasks.random import Stream, integers


class ParityConfig(TaskConfig):
    kind: Literal["tests.tasks.my_samples:Parity"] = "tests.tasks.my_samples:Parity"

    @property
    def vocab_size(self):
        return 3

    @property
    def input_length(self):
        return 4

    @property
    def factors(self):
        return {"first": ("zero", "one")}


class Parity(Task):
    """Three bits and the token 2, at which their parity is predicted."""

    Config = ParityConfig

    def __init__(self, config):
        self.config = config

    @property
    def predicted(self):
        return slice(3, None)

    def draw(self, seed, first_step, steps, batch_size):
        bits = integers(seed, Stream.BATCH, first_step, steps, batch_size * 3, 2)
        bits = bits.reshape(steps, batch_size, 3)
        tokens = np.concatenate([bits, np.full_like(bits[..., :1], 2)], axis=-1)
        return Batch(tokens, bits.sum(-1, keepdims=True) % 2)

    def held_out(self, samples):
        batch = self.draw(9, 0, 1, samples)
        return Batch(batch.tokens[0], batch.targets[0])

    def factors(self, batch):
        return {"first": batch.tokens[:, 0]}

    def measures(self, logits, tokens, targets):
        return {}


class EvenConfig(AdditionConfig):
    kind: Literal["tests.tasks.my_samples:Even"] = "tests.tasks.my_samples:Even"


class Even(Addition):
    """Addition of single digits without a carry: its samples are not those of addition."""

    Config = EvenConfig

    def draw(self, seed, first_step, steps, batch_size):
        return halved(super().draw(seed, first_step, steps, batch_size))

    def held_out(self, samples):
        return halved(super().held_out(samples))


def halved(batch):
    """The samples with digits from 0 to 4, whose sum has no carry."""
    tokens = np.where(batch.tokens < 10, batch.tokens // 2, batch.tokens)
    return Batch(tokens, tokens[..., :1] + tokens[..., 2:3])
