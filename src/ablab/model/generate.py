"""Generation: draws tokens one by one from a model's predictions. Axes: B, T, V, P."""

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
        temperature: The divisor of the logits; 0 selects the most likely token (greedy).
        top_k: Draw only from the k most likely tokens; None for all.
        top_p: Draw only from the smallest set of tokens whose probabilities sum to p (nucleus
            sampling, Holtzman et al., 2020); None for all.
        seed: The seed of the random numbers.

    Raises:
        ValueError: A value is out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature {self.temperature} is not a number of at least 0")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed {self.seed} is not between 0 and 2**63 - 1")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k {self.top_k} is below 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p {self.top_p} is not greater than 0 and at most 1")


class Generates(nn.Module):
    """A model that can generate tokens from its own predictions.

    Attributes:
        input_length: The number of tokens per sample in training (T).
        caches: Whether the model supports a key-value cache, which requires that the logits of a
            position depend only on the tokens up to it.
    """

    caches: ClassVar[bool] = False
    input_length: int

    @property
    def longest(self) -> int | None:
        """The maximum number of tokens that the model can read; None for no limit."""
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
        """Generates the tokens that follow some prompts, one position at a time.

        The model runs in evaluation mode and without gradients.

        Args:
            prompt: Token ids, at least one per sample.
            count: The number of tokens to generate.
            sampling: How to draw them; by default from the model's probabilities.
            cached: Whether to use a key-value cache if the model supports it. Without it, all
                tokens are read again at every step, with the same result.
            context: The maximum number of tokens to read; by default the number with which the
                model was trained. Beyond it, the model reads the last ones without a cache.

        Yields:
            The next token of each sample.

        Raises:
            ValueError: The prompt is empty.
        """
        sampling = Sampling() if sampling is None else sampling
        if prompt.shape[1] == 0:
            raise ValueError("the prompt must have at least one token")
        generator = torch.Generator().manual_seed(sampling.seed)
        context = self.input_length if context is None else context
        read, cache = prompt, None
        for _ in range(count):
            window = read[:, -context:]
            slid = read.shape[1] > context
            if not cached or not self.caches or slid:
                logits = evaluated(self, window, Forward())
            else:
                new = window if cache is None else window[:, -1:]
                cache = Cache() if cache is None else cache
                logits = evaluated(self, new, Forward(cache=cache))
                cache.length += new.shape[1]
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
        """Generates the ``count`` tokens that follow some prompts; see :meth:`stream`."""
        found = list(self.stream(prompt, count, sampling, cached=cached, context=context))
        return torch.stack(found, dim=1) if found else prompt[:, :0]


def draw(
    logits: Float[Tensor, "B V"], sampling: Sampling, generator: torch.Generator
) -> Int[Tensor, " B"]:
    """Draws one token per row of logits."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    device = logits.device
    logits = logits.cpu().double() / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        least = logits.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if sampling.top_p is not None:
        ordered, places = logits.softmax(-1).sort(dim=-1, descending=True)
        before = ordered.cumsum(-1) - ordered  # the probability of all more likely tokens
        logits = logits.scatter(
            -1,
            places,
            logits.gather(-1, places).masked_fill(before >= sampling.top_p, -torch.inf),
        )
    drawn = torch.multinomial(logits.softmax(-1), 1, generator=generator)
    return drawn[:, 0].to(device)


def answers(model: Generates, task: Task, tokens: Int[Tensor, "B T"]) -> Int[Tensor, "B P"]:
    """The predictions of a model at a task's predicted positions.

    If the task has questions and the model supports a cache, the answer is generated token by token
    from the question. Otherwise each prediction is conditioned on the true previous tokens.

    Args:
        model: The model.
        task: The task.
        tokens: Samples, including their answers, which are ignored if the answer is generated.
    """
    first, last, step = task.predicted.indices(tokens.shape[1])
    if task.config.source_length is not None and model.caches and step == 1:
        return model.generate(tokens[:, : first + 1], last - first, Sampling(temperature=0.0))
    return evaluated(model, tokens, Forward())[:, task.predicted].argmax(-1)


@torch.no_grad()
def evaluated(model: nn.Module, tokens: Tensor, forward: Forward) -> Tensor:
    """The logits in evaluation mode; restores the mode of the model."""
    training = model.training
    model.eval()
    try:
        logits: Tensor = model(tokens, forward)
    finally:
        model.train(training)
    return logits
