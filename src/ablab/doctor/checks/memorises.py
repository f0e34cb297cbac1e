"""Can the model overfit one small batch?"""

import math
from collections import Counter, defaultdict

import torch
from torch import Tensor

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.influence import read_positions
from ablab.doctor.patient import Patient
from ablab.tasks.config import IGNORED

_RATES = (3e-3, 3e-2)
_STEPS = 200
_TOKENS = 256  # in the batch, or two samples


@check("memorises", "model", "the model can memorise one small batch")
def memorises(patient: Patient) -> list[Finding]:
    """Trains on one batch with Adam, at up to two learning rates, until the loss is halved.

    Halved means half way down to the lowest loss that a model with the same inputs can reach. That
    is not zero if equal inputs have different answers.
    """
    if patient.training_error:
        raise NotApplicable("two training passes fail; see in_place")
    samples = max(2, min(8, _TOKENS // patient.run.task.input_length))
    tokens, targets = patient.batch(samples)
    floor = _least_loss(patient, tokens, targets)
    reached = {}
    start = math.nan
    for rate in _RATES:
        model = patient.model().eval()
        parameters = [each for each in model.parameters() if each.requires_grad]
        if not parameters:
            raise NotApplicable("the model has no trainable parameters")
        optimizer = torch.optim.Adam(parameters, lr=rate)
        for step in range(_STEPS + 1):
            loss = patient.loss(model, tokens, targets)
            value = float(loss.detach())
            start = value if step == 0 else start
            if value <= floor + (start - floor) / 2:
                return []
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        reached[rate] = value
    return [
        Finding(
            f"the model cannot memorise {samples} samples",
            f"the loss started at {start:.4g} nats; after {_STEPS} steps of Adam it is "
            + ", ".join(f"{value:.4g} at rate {rate:g}" for rate, value in reached.items())
            + f"; the lowest possible loss is {floor:.4g}",
            "Inputs and targets belong to different samples or positions, gradients are detached, "
            "or parameters are not trained (see the other checks); or the model is too small for "
            "the task.",
        )
    ]


def _least_loss(patient: Patient, tokens: Tensor, targets: Tensor) -> float:
    """The entropy in nats of the batch's answers, given the tokens that the model sees for each."""
    try:
        looks_back = bool(read_positions(patient, patient.predicted[-1]))
    except NotApplicable:
        looks_back = True
    answers: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for row, answer in zip(tokens.tolist(), targets.tolist(), strict=True):
        for place, target in zip(patient.predicted, answer, strict=True):
            if target != IGNORED:
                seen = row[: place + 1] if looks_back else row[place : place + 1]
                answers[place if looks_back else 0, *seen][target] += 1
    count = sum(counter.total() for counter in answers.values())
    entropy = sum(
        -times * math.log(times / counter.total())
        for counter in answers.values()
        for times in counter.values()
    )
    return entropy / max(1, count)
