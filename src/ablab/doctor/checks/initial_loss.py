"""Does the model begin by guessing?"""

import math

import torch

from ablab.doctor.check import Finding, check
from ablab.doctor.patient import Patient

_SAMPLES = 64


@check("initial_loss", "model", "the initial loss is near log(vocabulary)")
def initial_loss(patient: Patient) -> list[Finding]:
    """Takes the initial model's loss on a batch."""
    with torch.no_grad():
        loss = float(patient.loss(patient.model().eval(), *patient.batch(_SAMPLES)))
    vocabulary = patient.run.task.vocab_size
    guessing = math.log(vocabulary)
    if guessing / 2 <= loss <= guessing + 1:
        return []
    evidence = f"{loss:.4g} nats; guessing among {vocabulary} tokens is {guessing:.4g}"
    if loss < guessing / 2:
        return [
            Finding(
                "the untrained model predicts better than it can know",
                evidence,
                "The model sees its answer (see causality and targets), the targets are padding, "
                "or nearly all of them are one token.",
            )
        ]
    return [
        Finding(
            "the untrained model is sure of wrong answers",
            evidence,
            "The initial weights are too large, above all those of the last layer or of an "
            "embedding that also gives the logits: give them a smaller standard deviation "
            "(1 / sqrt(width), say), or put a norm before the logits.",
        )
    ]
