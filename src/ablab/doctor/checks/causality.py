"""Does a prediction see the token that it predicts?"""

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.influence import token_changes
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient


@check("causality", "model", "no prediction sees a later token of its sample")
def causality(patient: Patient) -> list[Finding]:
    """Changes one token and compares the logits of the predicted positions before it."""
    predicted = patient.predicted
    if predicted[0] == patient.run.task.input_length - 1:
        raise NotApplicable("only the last position is predicted, and it has no later token")
    leaks: dict[int, list[int]] = {}
    for change in token_changes(patient):
        seen_at = [place for place in change.own if place < change.position and place in predicted]
        if seen_at:
            leaks[change.position] = seen_at
    if not leaks:
        return []
    if any(change.others for change in token_changes(patient)):
        raise NotApplicable("other samples change too; see samples")
    evidence = [
        f"changing the token at position {position} changes the logits at {listed(places, 4)}"
        for position, places in leaks.items()
    ]
    return [
        Finding(
            "predictions see later tokens, so they can copy the answer",
            listed(evidence, 3, "; "),
            "The causal mask is missing, is not applied on this path, or is added before an "
            "activation that does not map minus infinity to zero (tanh maps it to -1, a linear "
            "activation or none leaves it unchanged). Multiply the weights by a mask of zeros and "
            "ones after the activation. Convolutions and pooling need padding on the left only.",
        )
    ]
