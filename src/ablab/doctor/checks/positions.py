"""Does the model know the order of its tokens?"""

from itertools import combinations

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.influence import passed, read_positions
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient

_PAIRS = 6


@check("positions", "model", "the order of earlier tokens matters")
def positions(patient: Patient) -> list[Finding]:
    """Swaps two different earlier tokens and looks at the last predicted position's logits."""
    last = patient.predicted[-1]
    read = read_positions(patient, last)
    if len(read) < 2:
        raise NotApplicable("the model reads fewer than two earlier tokens")
    tokens, _ = patient.batch(2)
    pairs = [(a, b) for a, b in combinations(read, 2) if tokens[0, a] != tokens[0, b]]
    if not pairs:
        raise NotApplicable("the task has no two different earlier tokens")
    model = patient.shaken()
    before = passed(model, tokens)[0, last]
    pairs = pairs[:: -(-len(pairs) // _PAIRS)]
    for a, b in pairs:
        swapped = tokens.clone()
        swapped[0, a], swapped[0, b] = tokens[0, b], tokens[0, a]
        difference = float((passed(model, swapped)[0, last] - before).abs().max())
        if difference > patient.tolerance * max(1e-3, float(before.abs().max())):
            return []
    return [
        Finding(
            "the model does not know the order of the tokens it reads",
            f"swapping the tokens at positions {listed(pairs)} leaves the logits at {last} as they "
            "are",
            "Positions are missing: there is no positional encoding (position: none), or it is "
            "made and never added, or it is the same at every position. A single layer of "
            "attention without one sees a set of tokens; deeper ones learn some order from the "
            "causal mask.",
        )
    ]
