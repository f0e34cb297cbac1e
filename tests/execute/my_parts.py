"""A task and a model of a user's own, and a model that breaks."""

import os
from typing import Literal

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
