"""Are positions that act on queries, keys and scores relative, and nearer ones favoured?"""

import torch
from torch import Tensor

from ablab.doctor.attention_calls import attention_calls, queries_and_keys, values_of
from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.parts import is_users
from ablab.doctor.patient import Patient
from ablab.doctor.trace import Call, Trace, record


@check("rotary", "model", "scores depend on distances, if positions act on queries and keys only")
def rotary(patient: Patient) -> list[Finding]:
    """Passes samples of one repeated token: then only positions differ in the first scores.

    Positions may act on queries and keys (rotary ones) or be added to the scores (a bias).
    """
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
    where = f"in {call.where}, with the same token at every position, "
    found = _values(values_of(trace, call), where)
    if not any(turned):
        found += _bias(trace, call, where)
        if found:
            return found
        raise NotApplicable("positions do not act on queries and keys of the first layer")
    return found + _scores(q, k, turned, where)


def _scores(q: Tensor, k: Tensor, turned: tuple[bool, bool], where: str) -> list[Finding]:
    """Findings on scores that are no function of the distance."""
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
            "different tables, or the tables have another layout (neighbouring pairs of features) "
            "than the rotation (halves). Rotate queries and keys alike.",
            "possible",
        )
    ]


def _values(values: Tensor | None, where: str) -> list[Finding]:
    """A finding if values are rotated: they differ between positions and have equal norms."""
    if values is None or not _varies(values, -2):
        return []
    norms = values.norm(dim=-1)
    if not torch.allclose(norms, norms[..., :1].expand_as(norms), rtol=1e-6):
        return []
    return [
        Finding(
            "positions act on the values",
            f"{where}the values differ between positions, and their norms are equal",
            "A rotary position is applied to the values, so what a head reads from a token is "
            "turned by its position. Rotate queries and keys only.",
            "certain",
        )
    ]


def _bias(trace: Trace, call: Call, where: str) -> list[Finding]:
    """A finding if scores rise linearly with the distance in all heads."""
    given = (
        call.argument(0, "input") if call.function == "softmax" else call.argument(3, "attn_mask")
    )
    if not isinstance(given, Tensor) or not given.is_floating_point() or given.ndim < 2:
        return []
    length = given.shape[-1]
    if given.shape[-2] != length or length < 4:
        return []
    last = given[..., -1, :].flatten(0, -2)  # (N, T): the last query's scores
    steps = last.diff(dim=-1)
    even = torch.allclose(steps, steps[:, :1].expand_as(steps), rtol=1e-4)
    if not bool(last.isfinite().all()) or not even or not bool((steps < -1e-6).all()):
        return []
    return [
        Finding(
            "scores rise with the distance",
            f"{where}a position's score falls by {-float(steps.max()):.3g} or more for each step "
            "towards the query, in all heads",
            "The linear bias of distances (ALiBi) has the wrong sign, so far tokens are favoured "
            "and near ones penalised. Subtract slope * (i - j) from the scores of query i and "
            "key j.",
            "certain",
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
