"""A task and a model of a user's own, and a model that breaks."""

from typing import Literal

import torch

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
    """Raises in evaluation, unless it is evaluated alone."""

    Config = BreakingConfig

    def forward(self, tokens, forward=None):
        if torch._C._functorch.maybe_current_level() is not None and not self.training:
            raise RuntimeError("too many at once")
        return super().forward(tokens, forward)
