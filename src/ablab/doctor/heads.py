"""What the heads of attention have in common that they should not.

Axes: B batch, H heads, T sequence, K head.
"""

import torch
from torch import Tensor

from ablab.doctor.attention_calls import (
    attention_calls,
    heads_of,
    queries_and_keys,
    values_of,
)
from ablab.doctor.check import Certainty, Finding
from ablab.doctor.messages import listed
from ablab.doctor.trace import Call, Trace


def equal_heads(trace: Trace) -> list[Finding]:
    """A finding if all heads of a layer attend alike, or if keys and values are paired oddly."""
    equal = []
    for call in attention_calls(trace):
        if call.function == "softmax":
            heads = [call.output]
        else:
            heads = [call.argument(0, "query"), call.argument(1, "key")]
        if heads[0].ndim != 4 or heads[0].shape[1] < 2:
            continue
        if all(torch.equal(each, each[:, :1].expand_as(each)) for each in heads):
            equal.append(f"{call.where}: {heads[0].shape[1]} heads")
    if equal:
        return [
            Finding(
                "all heads of attention attend alike",
                listed(equal, between="; "),
                "All heads use the same queries and keys: one head is repeated or expanded, so "
                "there is one pattern for all heads. Project each head's queries separately.",
                "certain",
            )
        ]
    return _orders(trace)


def averaged_heads(trace: Trace) -> list[Finding]:
    """A finding if the outputs of all heads get the same gradient: only their mean is used.

    Args:
        trace: A pass of which gradients were recorded, after the backward pass.
    """
    averaged = []
    for call in attention_calls(trace):
        if _same_gradient(call) or _same_gradient(heads_of(trace, call)):
            averaged.append(f"{call.where}: {call.output.shape[1]} heads")
    if not averaged:
        return []
    return [
        Finding(
            "the heads of attention are averaged",
            f"all heads get the same gradient, in {listed(averaged, between='; ')}",
            "The mean over the heads (or their sum) is used in place of each head's own output or "
            "weights, so several heads can do no more than one. Concatenate the heads: "
            "transpose(1, 2).reshape(B, T, H * K), without mean(1) or sum(1).",
            "certain",
        )
    ]


def _same_gradient(call: Call | None) -> bool:
    if call is None or call.gradient is None or call.gradient.ndim != 4:
        return False
    gradient = call.gradient
    if gradient.shape[1] < 2 or not gradient.any():
        return False
    apart = (gradient - gradient[:, :1]).abs().max()
    return bool(apart <= 1e-6 * gradient.abs().max())


def _orders(trace: Trace) -> list[Finding]:
    """Findings on the order in which shared keys and values are repeated for the heads."""
    for call in attention_calls(trace):
        pair, values = queries_and_keys(trace, call), values_of(trace, call)
        if pair is None or values is None or pair[1].ndim != 4 or values.ndim != 4:
            continue
        keys_of, values_of_heads = _groups(pair[1]), _groups(values)
        heads, groups = len(keys_of), len(set(keys_of))
        if groups in (1, heads) or len(set(values_of_heads)) != groups:
            continue
        orders = f"{call.where}: the {heads} heads use the keys {keys_of}"
        if keys_of != values_of_heads:
            certainty: Certainty = "certain"
            evidence = f"{orders} and the values {values_of_heads}"
            cause = (
                "The shared keys and values are repeated in different orders (repeat for one, "
                "repeat_interleave for the other), so a head averages values by the keys of "
                "another group. Use repeat_interleave(H // H_kv, dim=1) for both."
            )
        elif keys_of != sorted(keys_of):
            certainty, evidence = "possible", orders
            cause = (
                "The shared key and value heads are tiled (repeat), not repeated in groups "
                "(repeat_interleave): the wrong order if weights are loaded, or shared with "
                "enable_gqa=True, where heads 0 to H / H_kv - 1 use the first one."
            )
        else:
            continue
        message = "keys and values are shared by the heads in an unusual order"
        return [Finding(message, evidence, cause, certainty)]
    return []


def _groups(heads: Tensor) -> list[int]:
    """For each head of (B, H, T, K) the number of the distinct one that it equals."""
    distinct: list[Tensor] = []
    found = []
    for number in range(heads.shape[1]):
        head = heads[:, number]
        same = [n for n, other in enumerate(distinct) if torch.equal(head, other)]
        if not same:
            distinct.append(head)
        found.append(same[0] if same else len(distinct) - 1)
    return found
