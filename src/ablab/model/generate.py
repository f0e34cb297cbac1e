"""Generation: tokens drawn one after another from a model's own predictions. Axes: B, T, V, P."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ablab.model.base import Model
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
        if self.temperature < 0:
            raise ValueError(f"temperature {self.temperature} is below 0")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k {self.top_k} is below 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p {self.top_p} is not above 0 and at most 1")


def stream(
    model: Model,
    prompt: Int[Tensor, "B T"],
    count: int,
    sampling: Sampling | None = None,
    *,
    cached: bool = True,
    context: int | None = None,
) -> Iterator[Int[Tensor, " B"]]:
    """The tokens that follow some prompts, one position after another.

    Args:
        model: Any ablab model; it is evaluated, whatever its mode, without gradients.
        prompt: Token numbers, at least one for each sample.
        count: How many tokens follow.
        sampling: How they are drawn; as the model predicts them by default.
        cached: Whether keys and values are kept, where the model can; without, every token is read
            again each time, with the same result.
        context: How many tokens are read at most, the last ones; as many as the model was trained
            with by default. Once there are more, the window slides and is read again each time.

    Yields:
        The next token of each sample.
    """
    sampling = Sampling() if sampling is None else sampling
    if prompt.shape[1] == 0:
        raise ValueError("a prompt has at least one token")
    generator = torch.Generator().manual_seed(sampling.seed)
    context = model.input_length if context is None else context
    read, cache = prompt, None
    for _ in range(count):
        window = read[:, -context:]
        slid = read.shape[1] > context
        if not cached or not model.caches or slid:
            logits = _evaluated(model, window, Forward())
        else:
            fresh = window if cache is None else window[:, -1:]
            cache = Cache() if cache is None else cache
            logits = _evaluated(model, fresh, Forward(cache=cache))
            cache.length += fresh.shape[1]
        following = draw(logits[:, -1], sampling, generator)
        read = torch.cat([read, following[:, None]], dim=1)
        yield following


def generate(
    model: Model,
    prompt: Int[Tensor, "B T"],
    count: int,
    sampling: Sampling | None = None,
    *,
    cached: bool = True,
    context: int | None = None,
) -> Int[Tensor, "B N"]:
    """The ``count`` tokens that follow some prompts; see :func:`stream`."""
    found = list(stream(model, prompt, count, sampling, cached=cached, context=context))
    return torch.stack(found, dim=1) if found else prompt[:, :0]


def draw(
    logits: Float[Tensor, "B V"], sampling: Sampling, generator: torch.Generator
) -> Int[Tensor, " B"]:
    """One token for each row of logits."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
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
    return drawn[:, 0]


def answers(model: Model, task: Task, tokens: Int[Tensor, "B T"]) -> Int[Tensor, "B P"]:
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
        return generate(model, tokens[:, : first + 1], last - first, Sampling(temperature=0.0))
    return _evaluated(model, tokens, Forward())[:, task.predicted].argmax(-1)


@torch.no_grad()
def _evaluated(model: Model, tokens: Tensor, forward: Forward) -> Tensor:
    training = model.training
    model.eval()
    try:
        logits: Tensor = model(tokens, forward)
    finally:
        model.train(training)
    return logits
