"""Are the outputs logits, of a usual size?"""

import torch
from torch import Tensor

from ablab.doctor.check import Finding, check
from ablab.doctor.influence import passed
from ablab.doctor.patient import Patient

_SAMPLES = 8
_SMALL, _LARGE = 1e-3, 25.0  # standard deviations
_ZEROS, _BOUNDED = 0.05, 0.5  # the share of zeros, the median size
_LOSS = "The loss takes the softmax itself, so the model must return unbounded logits."


@check("output", "model", "the outputs are logits: of both signs, unbounded, not tiny or huge")
def output(patient: Patient) -> list[Finding]:
    """Looks at the sign, the sums and the size of the logits, with perturbed parameters."""
    batch, _ = patient.batch(_SAMPLES)
    logits = passed(patient.shaken(), batch).double()
    if float((logits.logsumexp(-1)).abs().max()) < 1e-4:
        patient.note(
            "output",
            "the outputs are log-probabilities (log-softmax on the output): the loss is the same "
            "as with logits",
        )
        return []
    return _activation(logits) or _size(patient, float(logits.std()))


def _activation(logits: Tensor) -> list[Finding]:
    """A finding if the range and the sums of the outputs are those of an activation."""
    low, high = float(logits.min()), float(logits.max())
    between = f"the outputs are between {low:.4g} and {high:.4g}"
    zeros = float((logits == 0).double().mean())
    found = []
    if low >= 0 and float((logits.sum(-1) - 1).abs().max()) < 1e-4:
        cause = f"There is a softmax on the output: these are probabilities. {_LOSS}"
        found = [Finding("the outputs sum to one", between, cause, "certain")]
    elif low >= 0 and zeros > _ZEROS:
        cause = f"There is a ReLU (an activation) on the output, which removes its sign. {_LOSS}"
        text = f"{between}; {100 * zeros:.3g}% are exactly 0"
        found = [Finding("no output is negative", text, cause)]
    elif low >= 0 and high <= 1:
        cause = f"There is a sigmoid (an activation bounded by 0 and 1) on the output. {_LOSS}"
        found = [Finding("all outputs are between 0 and 1", between, cause)]
    elif low >= -1 and high <= 1 and float(logits.abs().median()) > _BOUNDED:
        cause = f"There may be a tanh (a bounded activation) on the output. {_LOSS}"
        found = [Finding("all outputs are between -1 and 1", between, cause, "possible")]
    return found


def _size(patient: Patient, spread: float) -> list[Finding]:
    """A finding if the logits are tiny, or huge from the start."""
    evidence = f"standard deviation {spread:.3g}"
    if 0 < spread < _SMALL:
        cause = (
            "The logits are far too small: they are divided by a large number, or a gate or weight "
            "before them is tiny. Gradients shrink with them, and training is slow."
        )
        return [Finding("the logits are tiny", evidence, cause)]
    if spread > _LARGE and _initial_spread(patient) > _LARGE:
        cause = (
            "The logits are far too large: they are multiplied by a large number, or the initial "
            "weights are too large. The loss starts far above log(vocabulary)."
        )
        return [Finding("the logits are huge", evidence, cause)]
    return []


def _initial_spread(patient: Patient) -> float:
    with torch.no_grad():
        return float(passed(patient.model().eval(), patient.batch(_SAMPLES)[0]).std())
