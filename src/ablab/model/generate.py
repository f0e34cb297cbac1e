"""Generation: tokens drawn one after another from a model's own predictions. Axes: B, T, V, P."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ablab.model.forward import Cache, Forward
from ablab.tasks.base import Task


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn from the logits.

    Attributes:
        temperature: What logits are divided by; 0 takes the likeliest token (greedy).
        top_k: Draw from so many of the likeliest tokens alone; None for all.
        top_p: Draw from the fewest tokens whose probabilities reach this (Holtzman et al., 2020,
            nucleus sampling); None for all.
        seed: Where random numbers come from.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature {self.temperature} is no number from 0 on")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed {self.seed} is not from 0 to 2**63 - 1")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k {self.top_k} is below 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p {self.top_p} is not above 0 and at most 1")


class Generates(nn.Module):
    """A model that can go on writing from its own predictions.

    Attributes:
        input_length: How many tokens a sample has in training (T).
        caches: Whether the model can go on from what it read before: each position's logits
            depend on the tokens up to it alone.
    """

    caches: ClassVar[bool] = False
    input_length: int

    @property
    def longest(self) -> int | None:
        """How many tokens can be read at most; None where any number can."""
        return None

    def stream(
        self,
        prompt: Int[Tensor, "B T"],
        count: int,
        sampling: Sampling | None = None,
        *,
        cached: bool = True,
        context: int | None = None,
    ) -> Iterator[Int[Tensor, " B"]]:
        """The tokens that follow some prompts, one position after another.

        The model is evaluated, whatever its mode, without gradients.

        Args:
            prompt: Token numbers, at least one for each sample.
            count: How many tokens follow.
            sampling: How they are drawn; as the model predicts them by default.
            cached: Whether keys and values are kept, where the model can; without, every token is
                read again each time, with the same result.
            context: How many tokens are read at most, the last ones; as many as the model was
                trained with by default. Once there are more, the window slides and is read again
                each time.

        Yields:
            The next token of each sample.

        Raises:
            ValueError: There is no token to begin from.
        """
        sampling = Sampling() if sampling is None else sampling
        if prompt.shape[1] == 0:
            raise ValueError("a prompt has at least one token")
        generator = torch.Generator().manual_seed(sampling.seed)
        context = self.input_length if context is None else context
        read, cache = prompt, None
        for _ in range(count):
            window = read[:, -context:]
            slid = read.shape[1] > context
            if not cached or not self.caches or slid:
                logits = evaluated(self, window, Forward())
            else:
                fresh = window if cache is None else window[:, -1:]
                cache = Cache() if cache is None else cache
                logits = evaluated(self, fresh, Forward(cache=cache))
                cache.length += fresh.shape[1]
            following = draw(logits[:, -1], sampling, generator)
            read = torch.cat([read, following[:, None]], dim=1)
            yield following

    def generate(
        self,
        prompt: Int[Tensor, "B T"],
        count: int,
        sampling: Sampling | None = None,
        *,
        cached: bool = True,
        context: int | None = None,
    ) -> Int[Tensor, "B N"]:
        """The ``count`` tokens that follow some prompts; see :meth:`stream`."""
        found = list(self.stream(prompt, count, sampling, cached=cached, context=context))
        return torch.stack(found, dim=1) if found else prompt[:, :0]


def draw(
    logits: Float[Tensor, "B V"], sampling: Sampling, generator: torch.Generator
) -> Int[Tensor, " B"]:
    """One token for each row of logits."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    device = logits.device
    logits = logits.double().cpu() / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        least = logits.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if sampling.top_p is not None:
        ordered, places = logits.softmax(-1).sort(dim=-1, descending=True)
        before = ordered.cumsum(-1) - ordered  # of all likelier tokens
        logits = logits.scatter(
            -1,
            places,
            logits.gather(-1, places).masked_fill(before >= sampling.top_p, -torch.inf),
        )
    drawn = torch.multinomial(logits.softmax(-1), 1, generator=generator)
    return drawn[:, 0].to(device)


def answers(model: Generates, task: Task, tokens: Int[Tensor, "B T"]) -> Int[Tensor, "B P"]:
    """What a model predicts at a task's predicted positions.

    An answer of several tokens after a question is written freely, each token read back, where the
    model reads its own answer; elsewhere the tokens before each position are the true ones.

    Args:
        model: The model.
        task: The task.
        tokens: Samples, with the answers that they hold; those are not read where it is written
            freely.
    """
    first, last, step = task.predicted.indices(tokens.shape[1])
    if task.config.source_length is not None and model.caches and step == 1:
        return model.generate(tokens[:, : first + 1], last - first, Sampling(temperature=0.0))
    return evaluated(model, tokens, Forward())[:, task.predicted].argmax(-1)


@torch.no_grad()
def evaluated(model: nn.Module, tokens: Tensor, forward: Forward) -> Tensor:
    """The logits in evaluation mode; the model's own mode is left as it was."""
    training = model.training
    model.eval()
    try:
        logits: Tensor = model(tokens, forward)
    finally:
        model.train(training)
    return logits
