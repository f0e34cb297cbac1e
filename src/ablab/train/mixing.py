"""Whether the samples of a batch see each other. Axes: B batch, T sequence, V vocabulary.

The one place that decides it: for splitting a batch into parts, for the layout with the batch
innermost, and for the doctor.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from ablab.model.base import Model
from ablab.model.forward import Forward, Noise, NoiseCounter
from ablab.train.dropout import dropout_words
from ablab.train.run import Run
from ablab.train.stack import initial_model, make_task

_SAMPLES = 8
# Relative to the largest logit: far above rounding, far below any statistic over eight samples.
_STATE: Literal["state"] = "state"
_TOLERANCES = ((torch.float64, 1e-6), (torch.float32, 1e-3))


@dataclass(frozen=True)
class Mixing:
    """Whether the logits of a sample depend on the other samples of its batch, or on their number.

    Attributes:
        training: In training mode; None if it cannot be said, because two passes over the same
            batch differ.
        evaluation: In evaluation mode.
        stateful: Whether two passes over the same batch differ in training mode.
    """

    training: bool | None
    evaluation: bool | None
    stateful: bool = False

    @property
    def possible(self) -> bool:
        """Whether a batch must stay in one piece."""
        return self.training is not False or self.evaluation is not False


def batch_mixing(run: Run) -> Mixing:
    """Whether the samples of a batch see each other, in training mode and in evaluation mode.

    Half of the samples of a small batch are replaced, and half of them are computed alone; the
    logits of the other half must not change. All passes use the same dropout masks and the same
    draws of torch's generator. Parameters are perturbed, because a factor that starts at zero hides
    the others.
    """
    task = make_task(run)
    tokens, others = (
        torch.from_numpy(task.draw(run.seed, step, 1, _SAMPLES).tokens[0]) for step in (1, 2)
    )
    found = [_mixes(run, tokens, others, training) for training in (True, False)]
    training, evaluation = (None if mixes == _STATE else mixes for mixes in found)
    return Mixing(training, evaluation, stateful=found[0] == _STATE)


@torch.no_grad()
def _mixes(
    run: Run, tokens: Tensor, others: Tensor, training: bool
) -> bool | Literal["state"] | None:
    """Whether samples see each other in a mode; ``state`` if equal passes differ.

    None if the model raises.
    """
    half = len(tokens) // 2
    for precision, tolerance in _TOLERANCES:
        model = _perturbed(run).to(precision).train(training)
        try:
            words = _words(model, run, tokens) if training else None
            together = _logits(model, tokens, words)
            least = tolerance * float(together.abs().max())
            equal = partial(torch.allclose, rtol=tolerance, atol=least)
            # Other draws of torch's generator, which only a module's own dropout uses.
            is_random = not equal(together, _logits(model, tokens, words, seed=1))
            if is_random and not equal(together, _logits(model, tokens, words)):
                return _STATE
            replaced = _logits(model, torch.cat([tokens[:half], others[half:]]), words)
            same = equal(together[:half], replaced[:half])
            if not is_random:  # of a smaller batch they would be others for each sample
                rest = None if words is None else (words[0][half:], words[1])
                same = same and equal(together[half:], _logits(model, tokens[half:], rest))
        except Exception:  # a user's model may only run in single precision
            continue
        if together.dtype == precision:
            return not same
    return None


def _perturbed(run: Run) -> Model:
    model = initial_model(run)
    for parameter in model.parameters():
        parameter.add_(torch.sin(torch.arange(parameter.numel())).view_as(parameter), alpha=0.1)
    return model


Words = tuple[Tensor, list[int]]


def _words(model: Model, run: Run, tokens: Tensor) -> Words | None:
    """The random words of dropout for a batch, (B, N), and those of each mask; None without any."""
    counter = NoiseCounter()
    model(tokens[:1], Forward(noise=counter))
    if not counter.sizes:
        return None
    words = dropout_words(run.seed, 1, 1, len(tokens), counter.sizes)[0]
    return torch.from_numpy(words), counter.sizes


def _logits(model: Model, tokens: Tensor, words: Words | None, seed: int = 0) -> Tensor:
    """The logits of a pass, (B, T, V), with given draws of torch's generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        noise = None if words is None else Noise(*words)
        logits: Tensor = model(tokens, Forward(noise=noise))
    return logits
