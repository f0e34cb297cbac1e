"""Does the untrained model guess uniformly?"""

import math

import torch

from ablab.doctor.check import Finding, check
from ablab.doctor.patient import Patient

_SAMPLES = 64


@check("initial_loss", "model", "the initial loss is near log(vocabulary)")
def initial_loss(patient: Patient) -> list[Finding]:
    """Computes the untrained model's loss on a batch."""
    with torch.no_grad():
        loss = float(patient.loss(patient.model().eval(), *patient.batch(_SAMPLES)))
    vocabulary = patient.run.task.vocab_size
    guessing = math.log(vocabulary)
    if guessing / 2 <= loss <= guessing + 1:
        return []
    evidence = f"{loss:.4g} nats; uniform guessing among {vocabulary} tokens gives {guessing:.4g}"
    if loss < guessing / 2:
        return [
            Finding(
                "the untrained model predicts better than chance",
                evidence,
                "The model sees the answer (see causality and targets), the targets are padding, "
                "or nearly all targets are the same token.",
            )
        ]
    return [
        Finding(
            "the untrained model is confident in wrong answers",
            evidence,
            "The initial weights are too large, especially those of the last layer or of an "
            "embedding that is tied to the output. Use a smaller standard deviation (such as "
            "1 / sqrt(width)), or add a norm before the logits.",
        )
    ]
