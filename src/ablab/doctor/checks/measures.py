"""Is an accuracy one for right predictions, and zero for wrong ones?"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient
from ablab.tasks.config import IGNORED

_SAMPLES = 64
_SURE = 50.0  # the logit of the predicted token; the others are 0


@check("measures", "task", "an accuracy is 1 for right predictions and 0 for wrong ones")
def measures(patient: Patient) -> list[Finding]:
    """Gives the task's measures logits that predict every target, and logits that predict none."""
    batch = patient.task.held_out(_SAMPLES)
    tokens, targets = torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets)
    size = patient.run.task.vocab_size
    if not len(targets) or size < 2:
        raise NotApplicable("the task has no held-out samples, or one token")
    right = _accuracies(patient, targets, tokens, targets)
    if not right:
        raise NotApplicable("the task has no measure with accuracy in its name")
    others = torch.where(targets == IGNORED, targets, (targets + 1) % size)
    wrong = _accuracies(patient, others, tokens, targets)
    low = {name: value for name, value in right.items() if value < 0.999}
    high = {name: value for name, value in wrong.items() if value > 0.001 and name not in low}
    if not low and not high:
        return []
    seen = [f"{name} of right predictions is {value:.3g}" for name, value in low.items()]
    seen += [f"{name} of wrong predictions is {value:.3g}" for name, value in high.items()]
    return [
        Finding(
            "an accuracy does not measure whether predictions are right",
            listed(seen, between="; "),
            "The measure compares predictions with something other than their targets (the input, "
            "shifted targets), or counts positions whose target is IGNORED. See accuracies in "
            "ablab.tasks.scores.",
            "certain",
        )
    ]


def _accuracies(
    patient: Patient, predicted: Tensor, tokens: Tensor, targets: Tensor
) -> dict[str, float]:
    """The measures called accuracy, of logits that are sure of tokens (B, P)."""
    classes = F.one_hot(predicted.clamp(min=0), patient.run.task.vocab_size)
    with torch.no_grad():
        found = patient.task.measures(_SURE * classes.float(), tokens, targets)
    return {name: float(value) for name, value in found.items() if "accuracy" in name}
