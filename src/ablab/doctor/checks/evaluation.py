"""Is evaluation deterministic?"""

import random

import numpy as np
import torch
from torch import Tensor, nn

from ablab.doctor.check import Certainty, Finding, check
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient
from ablab.doctor.trace import record

_STATE = (
    "The model keeps state from one pass to the next (a cache, a hidden state, a counter, a "
    "running statistic): what it returns depends on the batches before. Start each pass anew, or "
    "pass the state as an argument."
)
_DROPOUT = (
    "Dropout is active in evaluation: F.dropout needs training=self.training (its default is "
    "True), and scaled_dot_product_attention dropout_p=0.0; or use nn.Dropout."
)
_NOISE = (
    "Noise is drawn in evaluation, from torch's generator: draw it only if self.training. A layer "
    "or parameter that is created in the forward pass is drawn too; create it in __init__."
)
_ELSEWHERE = (
    "Random numbers are drawn in evaluation, from a generator of NumPy or Python (or a new one of "
    "torch). Draw them only if self.training, from torch's generator."
)


@check("evaluation", "model", "the same input gives the same output, bit for bit")
def evaluation(patient: Patient) -> list[Finding]:
    """Evaluates one batch twice, with another batch in between.

    If the results differ, new models and equal draws tell state, dropout and noise apart.
    """
    model = patient.model().eval()
    tokens, _ = patient.batch(4)
    with torch.no_grad():
        first = model(tokens)
        model(patient.batch(4, step=2)[0])
        second = model(tokens)
    if torch.equal(first, second):
        return []
    evidence, cause, certainty = _why(patient, tokens)
    return [
        Finding(
            "the same input gives different outputs in evaluation",
            f"they differ by up to {float((first - second).abs().max()):.3g}{evidence}",
            cause,
            certainty,
        )
    ]


def _why(patient: Patient, tokens: Tensor) -> tuple[str, str, Certainty]:
    """Evidence, cause and certainty of outputs that differ."""
    model, other = patient.model().eval(), patient.model().eval()
    fresh, again = _seeded(model, tokens, 0), _seeded(other, tokens, 0)
    if torch.equal(fresh, again):
        _seeded(model, patient.batch(4, step=2)[0], 0)
        if not torch.equal(_seeded(model, tokens, 0), fresh):
            return "; new models agree, and a second pass differs from the first", _STATE, "certain"
    elif not torch.equal(_seeded(patient.model().eval(), tokens, 0), again):
        return (
            "; passes of new models differ, from equal states of generators",
            _ELSEWHERE,
            "likely",
        )
    calls = record(patient.model().eval(), tokens).of("dropout", "sdpa")
    active = [
        each.where
        for each in calls
        if (
            each.function == "dropout"
            and each.argument(1, "p", 0.5)
            and each.argument(2, "training", True)
        )
        or (each.function == "sdpa" and each.argument(4, "dropout_p", 0.0))
    ]
    if active:
        return f"; dropout is active in {listed(dict.fromkeys(active))}", _DROPOUT, "certain"
    return "; passes with equal seeds of torch's generator agree", _NOISE, "likely"


def _seeded(model: nn.Module, tokens: Tensor, seed: int) -> Tensor:
    """The logits of a pass that starts from seeded generators, which are restored."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)
            logits: Tensor = model(tokens.clone())
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
    return logits
