"""Does the model know the order of its tokens?"""

from itertools import combinations

from torch import Tensor, nn

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.influence import passed, read_positions, token_changes
from ablab.doctor.messages import listed
from ablab.doctor.parts import is_users
from ablab.doctor.patient import Patient
from ablab.doctor.trace import record

_PAIRS = 6


@check("positions", "model", "the order of earlier tokens matters")
def positions(patient: Patient) -> list[Finding]:
    """Swaps two different earlier tokens and compares the logits at the last predicted position.

    A note says whether the order is known after the first block already.
    """
    last = patient.predicted[-1]
    read = read_positions(patient, last)
    if not read and is_users(patient) and patient.without_gradient:
        return _only_own(patient)
    if len(read) < 2:
        raise NotApplicable("the model uses fewer than two earlier tokens")
    tokens, _ = patient.batch(2)
    pairs = [(a, b) for a, b in combinations(read, 2) if tokens[0, a] != tokens[0, b]]
    if not pairs:
        raise NotApplicable("no two earlier tokens of the sample differ")
    model = patient.shaken()
    before = passed(model, tokens)[0, last]
    pairs = pairs[:: -(-len(pairs) // _PAIRS)]
    for a, b in pairs:
        swapped = tokens.clone()
        swapped[0, a], swapped[0, b] = tokens[0, b], tokens[0, a]
        difference = float((passed(model, swapped)[0, last] - before).abs().max())
        if difference > patient.tolerance * max(1e-3, float(before.abs().max())):
            _note_first_block(patient, model, tokens, swapped, last)
            return []
    return [
        Finding(
            "the model ignores the order of its tokens",
            f"swapping the tokens at positions {listed(pairs)} does not change the logits at "
            f"position {last}",
            "There is no positional encoding (position: none), it is computed but never added, or "
            "it is the same at every position. Without one, a single attention layer sees a set "
            "of tokens; deeper models learn some order from the causal mask.",
        )
    ]


def _only_own(patient: Patient) -> list[Finding]:
    """A finding if no token changes later logits, although the model has parts for it."""
    if any(place > c.position for c in token_changes(patient) for place in c.own):
        raise NotApplicable("the model uses fewer than two earlier tokens")
    idle = patient.without_gradient
    return [
        Finding(
            "no prediction depends on earlier tokens",
            f"a token changes the logits of its own position only, and {len(idle)} parameters get "
            f"no gradient: {listed(idle)}",
            "Positions are not mixed: a state or memory is reset (made anew) at each position, "
            "each query sees only its own key, or the output of the mixing layer is dropped.",
        )
    ]


def _note_first_block(
    patient: Patient, model: nn.Module, tokens: Tensor, swapped: Tensor, last: int
) -> None:
    """Notes if the first block of a user's module sees a set of tokens, not their order."""
    if not is_users(patient):
        return
    one, other = record(model, tokens), record(model, swapped)
    for first, second in zip(one.modules, other.modules, strict=False):
        x, y = first.output, second.output
        if not first.name.endswith(".0") or x is None or y is None or x.shape[:2] != tokens.shape:
            continue
        if float((x - y)[0, last].abs().max()) <= patient.tolerance * float(x.abs().max()):
            patient.note(
                "positions",
                f"after {first.name} the order of earlier tokens does not matter: the model has no "
                "positions, and deeper blocks learn the order from the causal mask",
            )
        return
