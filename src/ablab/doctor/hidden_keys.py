"""What attention hides from every query: keys of padding, a query's own key, or all of them.

Axes: B batch, H heads, T sequence.
"""

import torch
from torch import Tensor

from ablab.doctor.attention_calls import Fault, attention_calls, shown_by
from ablab.doctor.messages import listed
from ablab.doctor.trace import Call, Trace

TRUE_MEANS = (
    "In nn.MultiheadAttention and nn.TransformerEncoder True in a boolean mask hides (attn_mask, "
    "key_padding_mask); in scaled_dot_product_attention True shows."
)


def hidden_faults(trace: Trace, padding: int | None, inside: str = "") -> list[Fault]:
    """Masks that hide ordinary tokens, a position from itself, or everything.

    Args:
        trace: A recorded pass.
        padding: The task's padding token, None if there is none.
        inside: A module; empty for the whole model.
    """
    found = []
    for call in attention_calls(trace, inside):
        shown = _shown(trace, call)
        if shown is None:
            continue
        for fault in (
            _tokens(trace, call, shown, padding),
            _everything(trace, call, shown, padding),
            _itself(call, shown),
        ):
            if fault is not None:
                found.append(fault)
                break
    return found


def _shown(trace: Trace, call: Call) -> Tensor | None:
    """Whether a key is shown to a query, (B, H, T, T)."""
    if call.function == "softmax" and call.argument(1, "dim") not in (-1, call.output.ndim - 1):
        return None
    weights = shown_by(trace, call)
    if weights is None or weights.ndim > 4:
        return None
    shown = weights.nan_to_num() != 0
    while shown.ndim < 4:
        # A mask (B, T, T) or (H, T, T) has no axis of heads or samples.
        shown = shown.unsqueeze(1 if len(shown) == len(trace.tokens) and shown.ndim == 3 else 0)
    if len(shown) not in (1, len(trace.tokens)):
        return None
    return shown.expand(len(trace.tokens), *shown.shape[1:])


def _everything(trace: Trace, call: Call, shown: Tensor, padding: int | None) -> Fault | None:
    """All keys are hidden from the query of an ordinary token."""
    blind = ~shown.any(-1).any(1)  # (B, T)
    if padding is not None:
        blind &= trace.tokens != padding
    if not blind.any():
        return None
    places = sorted({int(place) for place in blind.nonzero()[:, 1]})
    evidence = f"all keys are hidden from the queries at positions {listed(places)}"
    if blind.all(1).any():
        cause = (
            "The padding mask is inverted, or everything counts as padding: in some samples each "
            f"key is hidden from each query. {TRUE_MEANS}"
        )
        return Fault("mask", call.where, evidence, cause)
    length = shown.shape[-1]
    earlier = torch.ones(length, length, dtype=torch.bool).tril()
    if not shown[..., earlier].any():
        cause = (
            "The causal mask is inverted or transposed: each position sees only later ones, and "
            f"the last one nothing. {TRUE_MEANS}"
        )
        return Fault("mask", call.where, evidence, cause)
    cause = (
        "Some queries are entirely masked: there is nothing to attend to, and the softmax "
        "gives NaN. The mask hides a token from itself (it leaves out the diagonal), or "
        "hides every key of a padded sample. Let each query see its own position."
    )
    return Fault("mask", call.where, evidence, cause)


def _tokens(trace: Trace, call: Call, shown: Tensor, padding: int | None) -> Fault | None:
    """Some tokens are hidden from all later queries, and they are not padding."""
    length = shown.shape[-1]
    later = torch.ones(length, length, dtype=torch.bool).tril(-1)  # [i, j]: query i is after key j
    # The first position is often shown in any case, and no query is after the last one.
    seen = (shown & later).any(-2).any(1)[:, 1:-1]  # (B, T - 2): key j is shown to a later query
    keys = trace.tokens[:, 1:-1]
    partly = (~seen).any(1) & seen.any(1)
    if not partly.any() or (len(seen) > 1 and bool((seen == seen[:1]).all())):
        return None  # the same keys in all samples: a mask of positions
    hidden = set(keys[partly][~seen[partly]].tolist())
    visible = set(keys[partly][seen[partly]].tolist())
    if hidden & visible or hidden == {padding}:
        return None
    evidence = (
        f"no later query sees the keys of tokens {listed(sorted(hidden), 10)}; the tokens "
        f"{listed(sorted(visible), 10)} are seen"
    )
    if padding in visible or (len(visible) == 1 and len(hidden) > 1):
        cause = (
            "The padding mask is inverted: it hides ordinary tokens and shows padding. "
            f"{TRUE_MEANS}"
        )
        return Fault("padding", call.where, evidence, cause)
    cause = (
        f"The padding mask hides ordinary tokens: in this task {listed(sorted(hidden), 10)} "
        "is no padding. Set the token of padding to the task's, or leave the padding mask out."
    )
    return Fault("padding", call.where, evidence, cause)


def _itself(call: Call, shown: Tensor) -> Fault | None:
    """Each key is hidden from the query of the same position, and earlier ones are not."""
    own = shown.diagonal(dim1=-2, dim2=-1)[..., 1:]
    length = shown.shape[-1]
    earlier = torch.ones(length, length, dtype=torch.bool).tril(-1)
    if length < 3 or own.any() or not shown[..., earlier].any():
        return None
    return Fault(
        "mask",
        call.where,
        "no query sees the key of its own position, though earlier ones are seen",
        "The mask is off by one: it hides each token from itself (it leaves out the diagonal), so "
        "attention sees earlier tokens only. Use torch.tril without diagonal=-1.",
    )
