"""A task and a model of a user's own, and a model that breaks."""

import errno
import os
import shutil
from pathlib import Path
from typing import Literal

from ablab.execute.executors.in_process import InProcess
from ablab.model.bigram import Bigram
from ablab.model.bigram_config import BigramConfig
from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig

NAME = "tests.execute.my_parts"


class EasyConfig(AdditionConfig):
    kind: Literal["tests.execute.my_parts:Easy"] = "tests.execute.my_parts:Easy"


class Easy(Addition):
    """Addition under another name."""

    Config = EasyConfig


class ChattyConfig(BigramConfig):
    kind: Literal["tests.execute.my_parts:Chatty"] = "tests.execute.my_parts:Chatty"


class Chatty(Bigram):
    """Prints in its forward pass."""

    Config = ChattyConfig

    def forward(self, tokens, forward=None):
        print("a word without a line's end", end="")
        return super().forward(tokens, forward)


class FrozenConfig(BigramConfig):
    kind: Literal["tests.execute.my_parts:Frozen"] = "tests.execute.my_parts:Frozen"


class Frozen(Bigram):
    """Has a frozen parameter."""

    Config = FrozenConfig

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.embedding.weight.requires_grad_(False)


class BreakingConfig(BigramConfig):
    kind: Literal["tests.execute.my_parts:Breaking"] = "tests.execute.my_parts:Breaking"


class Breaking(Bigram):
    """Raises in evaluation, until it is mended."""

    Config = BreakingConfig

    def forward(self, tokens, forward=None):
        if not self.training and "MY_PARTS_ARE_MENDED" not in os.environ:
            raise RuntimeError("out of order")
        return super().forward(tokens, forward)


class Announcing(InProcess):
    """Trains in this process, and says so."""

    def train(self, queue):
        queue.report({"event": "message", "text": f"{len(queue.plan.stacks)} stacks announced"})
        return super().train(queue)


class LosesItsStoreConfig(AdditionConfig):
    kind: Literal["tests.execute.my_parts:LosesItsStore"] = "tests.execute.my_parts:LosesItsStore"


class LosesItsStore(Addition):
    """A task that puts a file where the store's folder of metrics was."""

    Config = LosesItsStoreConfig

    def draw(self, seed, first_step, steps, samples):
        metrics = Path(os.environ["ABLAB_TEST_STORE"]) / "metrics"
        if not metrics.is_file():
            shutil.rmtree(metrics, ignore_errors=True)
            metrics.write_text("a file")
        return super().draw(seed, first_step, steps, samples)


class FindsFullDiskConfig(AdditionConfig):
    kind: Literal["tests.execute.my_parts:FindsFullDisk"] = "tests.execute.my_parts:FindsFullDisk"


class FindsFullDisk(Addition):
    """A task that writes a file of its own to a full disk."""

    Config = FindsFullDiskConfig

    def draw(self, seed, first_step, steps, samples):
        raise OSError(errno.ENOSPC, "No space left on device", "/elsewhere/log.txt")
