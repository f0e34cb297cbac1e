"""Tasks of a user's own: samples of several lengths, an epoch, and more than one evaluation set."""

from dataclasses import replace
from typing import Literal

import numpy as np

from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.config import IGNORED


class RaggedConfig(AdditionConfig):
    kind: Literal["tests.train.my_tasks:Ragged"] = "tests.train.my_tasks:Ragged"

    @property
    def ragged(self):
        return True


class Ragged(Addition):
    """Addition of which each sample lacks some of its last digits; some samples lack all."""

    Config = RaggedConfig

    def draw(self, seed, first_step, steps, batch_size):
        return cut(super().draw(seed, first_step, steps, batch_size))

    def held_out(self, samples):
        return cut(super().held_out(samples))


def cut(batch):
    """The batch with as many targets of each sample as its first token says, at most."""
    kept = np.arange(batch.targets.shape[-1]) < batch.tokens[..., :1]
    return replace(batch, targets=np.where(kept, batch.targets, IGNORED))


class FiniteConfig(AdditionConfig):
    kind: Literal["tests.train.my_tasks:Finite"] = "tests.train.my_tasks:Finite"

    @property
    def train_size(self):
        return 100


class Finite(Addition):
    """Addition that says it has 100 samples, evaluated on longer numbers too."""

    Config = FiniteConfig

    @property
    def predicted(self):
        return slice(-1, None)  # of samples of any length

    def evaluation_sets(self, samples):
        longer = Addition(AdditionConfig(n_digits=self.config.n_digits + 1))
        return super().evaluation_sets(samples) | {"longer": longer.held_out(samples)}


class ParityConfig(AdditionConfig):
    kind: Literal["tests.train.my_tasks:Parity"] = "tests.train.my_tasks:Parity"

    @property
    def factors(self):
        return {"parity": ("even", "odd")}


class Parity(Addition):
    """Addition with a factor of its own: the parity of the first operand's first digit."""

    Config = ParityConfig

    def factors(self, batch):
        return {"parity": batch.tokens[:, 0] % 2}


class BadFactorConfig(AdditionConfig):
    kind: Literal["tests.train.my_tasks:BadFactor"] = "tests.train.my_tasks:BadFactor"

    @property
    def factors(self):
        return {"carries": ("0", "3+")}


class BadFactor(Addition):
    """Addition with a value of a factor whose name cannot be part of a column."""

    Config = BadFactorConfig
