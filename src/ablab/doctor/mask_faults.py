"""Mistakes of masks and axes that the calls of attention show.

Axes: B batch, H heads, T sequence, K head.
"""

import torch
from torch import Tensor

from ablab.doctor.attention_calls import (
    Fault,
    attention_calls,
    place_of,
    queries_and_keys,
    shown_by,
)
from ablab.doctor.hidden_keys import TRUE_MEANS
from ablab.doctor.messages import listed
from ablab.doctor.trace import Call, Trace

_MASK = (
    "Set the scores of later positions to minus infinity before the softmax (torch.tril without "
    "a diagonal argument), in both modes and all heads; or use is_causal=True."
)


def mask_faults(trace: Trace, inside: str = "") -> list[Fault]:
    """Softmaxes over a wrong axis, masks that show later positions, and queries of one position."""
    found = []
    for call in attention_calls(trace, inside):
        for fault in (_axis(call), _same_query(trace, call), _mask(trace, call)):
            if fault is not None:
                found.append(fault)
                break
    return found


def is_distribution(scores: Tensor) -> bool:
    """Whether the last axis is a distribution already: not negative, with a sum of one."""
    sums = scores.sum(-1)
    one = torch.ones_like(sums)
    return bool((scores >= 0).all()) and torch.allclose(sums, one, rtol=0, atol=1e-5)


def _axis(call: Call) -> Fault | None:
    if call.function == "sdpa":
        return None
    scores = call.argument(0, "input")
    axis = call.argument(1, "dim")
    if axis is None or axis % scores.ndim == scores.ndim - 1:
        return None
    axis = axis % scores.ndim
    names = {scores.ndim - 2: "the queries", 0: "the batch", 1: "the heads"}
    over = names.get(axis, "another axis")
    return Fault(
        "axis",
        call.where,
        f"softmax(dim={axis - scores.ndim}) on scores {tuple(scores.shape)}",
        f"The softmax runs over the wrong axis: over {over} instead of the keys. Use dim=-1.",
    )


def _mask(trace: Trace, call: Call) -> Fault | None:
    length = trace.tokens.shape[1]
    weights = shown_by(trace, call)
    if weights is None:
        text = "scaled_dot_product_attention is called without a mask, with is_causal=False"
        return Fault("mask", call.where, text, f"The causal mask is missing. {_MASK}")
    later = torch.ones(length, length, dtype=torch.bool).triu(1)
    if not weights[..., later].any():
        return None
    weights = weights.nan_to_num()
    seen = int((weights[..., later] != 0).sum())
    evidence = f"{seen:,} of {weights[..., later].numel():,} weights of later positions are not 0"
    if not weights[..., later.T].any():
        cause = (
            "The mask is transposed or inverted: each position sees only later ones. Use tril, not "
            f"triu. {TRUE_MEANS}"
        )
        return Fault("mask", call.where, evidence, cause)
    given = call.argument(3, "attn_mask") if call.function == "sdpa" else None
    if given is not None and given.is_floating_point() and set(given.unique().tolist()) <= {0, 1}:
        cause = (
            "The mask is a float tensor of ones and zeros, which is added to the scores and hides "
            "nothing. Use a boolean mask, or minus infinity where it hides."
        )
        return Fault("mask", call.where, "attn_mask is a float tensor of 0 and 1", cause)
    cause = _kind_of_mask(trace, call, weights, later)
    return Fault("mask", call.where, evidence, cause)


def _kind_of_mask(trace: Trace, call: Call, weights: Tensor, later: Tensor) -> str:
    """Why weights of later positions are not zero."""
    if weights.ndim >= 4 and weights.shape[1] > 1:
        open_heads = weights.transpose(0, 1)[..., later].flatten(1).any(1)
        if not open_heads.all():
            heads = listed(open_heads.nonzero().flatten().tolist())
            return f"The mask is not applied to all heads: head {heads} is unmasked. {_MASK}"
    known = _kind_of_scores(call, later) if call.function == "softmax" else ""
    if known:
        return known
    index = torch.arange(weights.shape[-1])
    ahead = (index[None] - index[:, None])[(weights != 0).flatten(0, -3).any(0)]
    furthest = int(ahead.max())
    if furthest == 1:
        return (
            "The mask is off by one: each position sees the next token. Use torch.tril without "
            "diagonal=1 (or torch.triu with diagonal=1 for what is hidden)."
        )
    if furthest < weights.shape[-1] - 1:
        return (
            f"The window of the mask reaches {furthest} positions into the future. A causal window "
            f"covers earlier positions only: 0 <= query - key < width."
        )
    if call.function == "softmax" and _masked_afterwards(trace, call, later):
        return (
            "The mask is applied after the softmax, whose sum already includes later positions, "
            "so the weights do not sum to one. Apply it to the scores before the softmax."
        )
    return f"The causal mask is missing. {_MASK}"


def _kind_of_scores(call: Call, later: Tensor) -> str:
    """What is wrong with the scores of later positions; empty if nothing known is."""
    given = call.argument(0, "input")
    scores = given[..., later]
    if is_distribution(given):
        return (
            "The softmax is applied twice: the second one turns the zeros of masked positions into "
            "weights again. Apply it once, after the mask."
        )
    if not scores.any():
        return (
            "Masked scores are set to zero before the softmax (multiplied by the mask), and "
            "exp(0) is 1. Set them to minus infinity (-inf): masked_fill(~mask, -inf)."
        )
    if float(scores.max()) < float(given[..., ~later].min()):
        return (
            "The mask lowers the scores of later positions by a finite number that is too "
            "small, so they keep some weight. Use minus infinity (-inf)."
        )
    return ""


def _masked_afterwards(trace: Trace, call: Call, later: Tensor) -> bool:
    """Whether a later product in the same module sets the weights of later positions to zero."""
    rest = trace.calls[place_of(trace, call) + 1 :]
    return any(
        each.function == "mul"
        and each.where == call.where
        and isinstance(each.output, Tensor)
        and each.output.shape == call.output.shape
        and not each.output[..., later].any()
        for each in rest
    )


def _same_query(trace: Trace, call: Call) -> Fault | None:
    pair = queries_and_keys(trace, call)
    if pair is None or not torch.equal(pair[0], pair[0][..., -1:, :].expand_as(pair[0])):
        return None
    return Fault(
        "query",
        call.where,
        f"the queries {tuple(pair[0].shape)} are the same at every position",
        "All positions use the same query, such as that of the last position.",
    )
