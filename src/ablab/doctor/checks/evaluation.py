"""Is evaluation deterministic?"""

import torch

from ablab.doctor.check import Finding, check
from ablab.doctor.patient import Patient


@check("evaluation", "model", "the same input gives the same output, bit for bit")
def evaluation(patient: Patient) -> list[Finding]:
    """Evaluates one batch twice, with another batch in between."""
    model = patient.model().eval()
    tokens, _ = patient.batch(4)
    with torch.no_grad():
        first = model(tokens)
        model(patient.batch(4, step=2)[0])
        second = model(tokens)
    if torch.equal(first, second):
        return []
    return [
        Finding(
            "the same input gives different outputs in evaluation",
            f"they differ by up to {float((first - second).abs().max()):.3g}",
            "Dropout or noise is active in evaluation (F.dropout needs training=self.training), or "
            "the model carries state from one pass to the next (a cache, a running statistic).",
        )
    ]
