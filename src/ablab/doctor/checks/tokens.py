"""Does every token matter, at its own position?"""

import math

import torch

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.future import rearranged
from ablab.doctor.influence import passed, token_changes, usual_tokens
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient
from ablab.doctor.trace import trace_of

_MOST = 64  # tokens compared


@check("tokens", "model", "each token changes its own logits, and different tokens differ")
def tokens(patient: Patient) -> list[Finding]:
    """Changes one token at a time, and puts each token of the task at the last position."""
    changes = token_changes(patient, False)
    if not any(change.changed.any() for change in changes):
        return [
            Finding(
                "the model ignores its tokens",
                f"changing the token at {len(changes)} places changes no logits",
                "The logits do not depend on the input: tokens are replaced or multiplied by zero, "
                "or the output is constant.",
                "certain",
            )
        ]
    # All tokens that change anything do so from the same number of positions later on; the last
    # ones may change nothing at all.
    blind = [c for c in changes if c.own]
    late = {min(c.own) - c.position for c in blind}
    if len(blind) > len(changes) // 2 and len(late) == 1 and min(late) > 0:
        cause = rearranged(trace_of(patient))
        return [
            Finding(
                "a token does not change the logits at its own position",
                f"at positions {listed(sorted({c.position for c in blind}))}",
                cause
                or "Logits or inputs are shifted by one position, or the mask hides a token from "
                "itself and there is no residual connection.",
                "possible" if cause is None else "certain",
            )
        ]
    # A model may read some positions only, such as those of the question.
    read = [c.position for c in changes if c.sample == 0 and c.own]
    return _equal_tokens(patient, read[-1]) if read else []


def _equal_tokens(patient: Patient, position: int) -> list[Finding]:
    """Tokens that give the same logits as another token at a position."""
    usual = usual_tokens(patient)[:_MOST]
    if len(usual) < 2:
        raise NotApplicable("the task has fewer than two tokens")
    batch, _ = patient.batch(3)
    model, found = patient.shaken(), []
    for token in usual:
        batch[0, position] = token
        found.append(passed(model, batch)[0].flatten())
    logits = torch.stack(found)  # (N, T * V)
    least = patient.tolerance * max(1e-3, float(logits.abs().max()))
    apart = torch.cdist(logits, logits, p=math.inf) > least  # (N, N)
    twins = [usual[n] for n in range(len(usual)) if (~apart[n]).sum() > 1]
    if not twins:
        return []
    return [
        Finding(
            "the model cannot distinguish some tokens",
            f"tokens {listed(twins, 10)} give the same logits as another token",
            "They share a row of the embedding: token numbers are clamped, taken modulo a smaller "
            "vocabulary, or mapped to one unknown token.",
        )
    ]
