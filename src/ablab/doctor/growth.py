"""States that grow with each position, as with a rate of the wrong sign.

Axes: B batch, T sequence, D model.
"""

import torch
from torch import Tensor

from ablab.doctor.attention_calls import attention_calls
from ablab.doctor.check import Finding
from ablab.doctor.influence import another, usual_tokens
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient
from ablab.doctor.trace import record, trace_of

_FACTOR = 1.2  # by which the effect of the first token grows from each position to the next
_TOTAL = 1e3  # from the second position to the last one


def growing_states(patient: Patient) -> list[Finding]:
    """A finding if the effect of the first token on later positions grows exponentially.

    The effect is the change of what a layer without attention returns, by position.
    """
    tokens, _ = patient.batch(3)
    if tokens.shape[1] < 8 or attention_calls(trace_of(patient)):
        return []
    changed = tokens.clone()
    changed[0, 0] = another(int(tokens[0, 0]), usual_tokens(patient))
    model = patient.shaken()
    found = {}
    before, after = record(model, tokens).modules, record(model, changed).modules
    for one, other in zip(before, after, strict=False):
        if one.name != other.name or one.output is None or other.output is None:
            break
        growth = _growth(one.output, other.output, tokens.shape)
        if growth:
            found[one.name] = growth
    if not found:
        return []
    lines = (f"{name} by {growth:.3g}" for name, growth in found.items())
    return [
        Finding(
            "the effect of a token grows with each position",
            f"from the second position to the last of {tokens.shape[1]}: {listed(lines, 3)}",
            "The state of a recurrence grows: its rate has the wrong sign or its factor is above "
            "one, so old tokens dominate and long samples diverge. Keep the factor between 0 and 1 "
            "(exp(-exp(rate)), a sigmoid).",
        )
    ]


def _growth(one: Tensor, other: Tensor, sizes: torch.Size) -> float | None:
    """By how much the change of the first sample grows in all, if it grows at nearly each step."""
    if one.shape[:2] != sizes or one.ndim != 3 or not one.is_floating_point():
        return None
    size = (one[0] - other[0]).norm(dim=-1)[1:]  # (T - 1,)
    if not bool((size > 0).all()):
        return None
    steps = size[1:] / size[:-1]
    total = float(size[-1] / size[0])
    often = float((steps > _FACTOR).double().mean()) >= 0.75
    return total if often and total > _TOTAL else None
