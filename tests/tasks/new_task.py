"""The files of a task that is not shipped: the parity of some bits."""

CONFIG = '''
from typing import ClassVar, Literal

from ablab.tasks.config import TASKS, TaskConfig


@TASKS.register("parity")
class ParityConfig(TaskConfig):
    """Settings of parity."""

    implementation: ClassVar[str] = "ablab.tasks.parity:Parity"

    kind: Literal["parity"] = "parity"
    """This task's name."""
    bits: int = 5
    """How many bits there are."""

    @property
    def vocab_size(self):
        return 2

    @property
    def input_length(self):
        return self.bits
'''

TASK = '''
from ablab.tasks.base import Batch, Task
from ablab.tasks.parity_config import ParityConfig
from ablab.tasks.random import Stream, integers
from ablab.tasks.scores import accuracies


class Parity(Task):
    """Whether the number of ones is odd."""

    Config = ParityConfig

    def __init__(self, config):
        self.config = config

    @property
    def predicted(self):
        return slice(-1, None)

    def draw(self, seed, first_step, steps, batch_size):
        bits = self.config.bits
        drawn = integers(seed, Stream.BATCH, first_step, steps, batch_size * bits, 2)
        tokens = drawn.reshape(steps, batch_size, bits)
        return Batch(tokens, tokens.sum(-1, keepdims=True) % 2)

    def held_out(self, samples):
        batch = self.draw(0, 0, 1, samples)
        return Batch(batch.tokens[0], batch.targets[0])

    def measures(self, logits, tokens, targets):
        return accuracies(logits, targets)
'''
