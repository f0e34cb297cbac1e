"""Are positions that act on queries and keys relative?"""

import torch
from torch import Tensor

from ablab.doctor.attention_calls import attention_calls, queries_and_keys
from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.parts import is_users
from ablab.doctor.patient import Patient
from ablab.doctor.trace import record


@check("rotary", "model", "scores depend on distances, if positions act on queries and keys only")
def rotary(patient: Patient) -> list[Finding]:
    """Passes samples of one repeated token: then only positions differ in the first scores."""
    if not is_users(patient):
        raise NotApplicable("the model is ablab's own")
    tokens, _ = patient.batch(2)
    same = tokens[:, :1].expand_as(tokens).contiguous()
    trace = record(patient.shaken(), same)
    calls = attention_calls(trace)
    if not calls:
        raise NotApplicable("no attention weights (T, T) were seen")
    call = calls[0]
    inputs = [each.input for each in trace.modules if each.name == call.where]
    pair = queries_and_keys(trace, call)
    if not inputs or pair is None or not _is_the_same(inputs[0]):
        raise NotApplicable("positions are added to the input, or queries and keys were not seen")
    q, k = pair
    turned = (_varies(q, -2), _varies(k, -2))
    if not any(turned):
        raise NotApplicable("positions do not act on queries and keys of the first layer")
    where = f"in {call.where}, with the same token at every position, "
    if not all(turned):
        one, other = ("queries", "keys") if turned[0] else ("keys", "queries")
        return [
            Finding(
                f"positions act on the {one} only",
                f"{where}the {one} differ between positions and the {other} do not",
                f"A rotary position is applied to the {one} only; the {other} are not rotated. "
                "Then scores do not depend on the distance of two positions. Rotate both.",
                "certain",
            )
        ]
    scores = q @ k.transpose(-2, -1)  # (…, T, T)
    if _constant_along(scores, 1):
        return []
    if _constant_along(scores, -1):
        return [
            Finding(
                "scores depend on the sum of two positions, not on their distance",
                f"{where}the score of query i and key j is a function of i + j",
                "The keys are rotated in the opposite direction of the queries (the sign of the "
                "sine). Relative positions need the same direction for both.",
                "certain",
            )
        ]
    return [
        Finding(
            "scores do not depend on the distance of two positions",
            f"{where}pairs at equal distances have different scores",
            "A rotary position is applied to only some of the features of queries or keys, or with "
            "different tables. Rotate queries and keys alike.",
            "possible",
        )
    ]


def _is_the_same(x: Tensor | None) -> bool:
    """Whether what a module gets is the same at every position, as (B, T, D)."""
    return x is not None and x.is_floating_point() and x.ndim == 3 and not _varies(x, 1)


def _varies(x: Tensor, axis: int) -> bool:
    first = x.select(axis, 0).unsqueeze(axis)
    return float((x - first).abs().max()) > 1e-6 * max(1e-6, float(x.abs().max()))


def _constant_along(scores: Tensor, direction: int) -> bool:
    """Whether scores[i, j] = scores[i + 1, j + direction]."""
    one, other = scores[..., :-1, :-1], scores[..., 1:, 1:]
    if direction < 0:
        one, other = scores[..., :-1, 1:], scores[..., 1:, :-1]
    return torch.allclose(one, other, atol=1e-6 * float(scores.abs().max()), rtol=0)
