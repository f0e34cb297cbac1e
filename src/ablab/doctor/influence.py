"""Which logits change when one token changes. Axes: B batch, T sequence, V vocabulary."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ablab.doctor.check import NotApplicable
from ablab.doctor.patient import Patient

_POSITIONS = 12  # maximum number of changed positions in each of two samples


@dataclass(frozen=True)
class Change:
    """The effect of changing one token.

    Attributes:
        sample: The sample of the changed token.
        position: The position of the changed token.
        changed: Whether the logits changed, (B, T).
    """

    sample: int
    position: int
    changed: Bool[Tensor, "B T"]

    @property
    def own(self) -> list[int]:
        """The positions of the token's own sample whose logits changed."""
        return [int(place) for place in self.changed[self.sample].nonzero()]

    @property
    def others(self) -> list[tuple[int, int]]:
        """The positions of other samples whose logits changed, as (sample, position)."""
        pairs = [(int(sample), int(place)) for sample, place in self.changed.nonzero()]
        return [pair for pair in pairs if pair[0] != self.sample]


@lru_cache(maxsize=8)
def token_changes(patient: Patient, training: bool = True) -> list[Change]:
    """Changes one token at a time, at up to twelve positions of two samples.

    By default the model is in training mode, because BatchNorm uses the batch's statistics only
    then. Every pass uses the same dropout masks.

    Raises:
        NotApplicable: Two passes over the same tokens differ, so a change has no single cause.
    """
    length = patient.run.task.input_length
    # The numbers of samples and positions differ, so that swapped axes raise an error.
    samples = 3 if length != 3 else 4
    tokens, _ = patient.batch(samples)
    usual = usual_tokens(patient)
    model = patient.shaken().train(training)
    before = passed(model, tokens)
    if not torch.equal(before, passed(model, tokens)):
        raise NotApplicable("two passes over the same tokens differ")
    found = []
    for position in np.unique(np.linspace(0, length - 1, min(length, _POSITIONS)).round()):
        for sample in (0, samples - 1):
            place = int(position)
            changed = tokens.clone()
            changed[sample, place] = another(int(tokens[sample, place]), usual)
            difference = (passed(model, changed) - before).abs().amax(-1)  # (B, T)
            threshold = patient.tolerance * max(1e-3, float(before.abs().max()))
            found.append(Change(sample, place, difference > threshold))
    return found


def read_positions(patient: Patient, reader: int) -> list[int]:
    """The changed positions before ``reader`` on whose tokens the logits at ``reader`` depend."""
    return sorted(
        {c.position for c in token_changes(patient) if c.position < reader and reader in c.own}
    )


def usual_tokens(patient: Patient) -> list[int]:
    """The tokens of a batch of the task, without padding, in ascending order."""
    tasks_own = sorted(set(patient.batch(64)[0].flatten().tolist()))
    return [token for token in tasks_own if token != patient.run.task.padding]


def another(token: int, usual: list[int]) -> int:
    """The next usual token after ``token``, or the first one if there is none."""
    later = [other for other in usual if other > token]
    return later[0] if later else usual[0]


def passed(model: torch.nn.Module, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
    """The logits of a pass without gradients, with the same dropout masks at every call."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        logits: Tensor = model(tokens.clone())  # a model may write to its input; see in_place
    return logits
