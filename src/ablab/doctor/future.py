"""Why predictions see later tokens: from the module in which the leak begins, and its calls.

Axes: B batch, T sequence, D model, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ablab.doctor.attention_calls import attention_calls
from ablab.doctor.check import Certainty
from ablab.doctor.influence import Change
from ablab.doctor.locate import Place, leak_of_future
from ablab.doctor.mask_faults import mask_faults
from ablab.doctor.operations import leaking_operation
from ablab.doctor.parts import is_norm
from ablab.doctor.patient import Patient
from ablab.doctor.trace import Trace, trace_of

_GENERIC = (
    "The causal mask is missing, is not applied on this path, or is added before an "
    "activation that does not map minus infinity to zero (tanh maps it to -1, a linear "
    "activation or none leaves it unchanged). Multiply the weights by a mask of zeros and "
    "ones after the activation. Convolutions and pooling need padding on the left only."
)
_HEADS = (
    "The mask is right, but positions are mixed around it: heads are split or merged by view or "
    "reshape without transposing the axes of heads and positions. Split by view(B, T, H, "
    "K).transpose(1, 2), and merge by transpose(1, 2).reshape(B, T, H * K)."
)
_REVERSED = (
    "A recurrence or a scan runs backward, from the end to the start (a flip, a reversed "
    "loop): positions depend only on later ones."
)


@dataclass(frozen=True)
class Leak:
    """The cause of a leak, where it begins, and how certain the cause is."""

    cause: str
    evidence: str
    certainty: Certainty


def cause_of_leak(patient: Patient, changes: list[Change], training: bool) -> Leak:
    """The cause of a leak of later tokens in a mode."""
    place = leak_of_future(patient, training)
    if place is None:
        return Leak(_GENERIC, "", "possible")
    trace = trace_of(patient, training)
    begins = f"it begins in {place.text}"
    if place.name:
        found = _in_module(trace, place, changes, begins)
        return found or _by_operation(patient, training, begins)
    cause = rearranged(trace)
    if cause is not None:
        return Leak(cause, begins, "certain")
    faults = mask_faults(trace) if attention_calls(trace) else []
    if faults:
        return Leak(faults[0].cause, f"{begins}: {faults[0].evidence}", "certain")
    return _by_operation(patient, training, begins)


def _by_operation(patient: Patient, training: bool, begins: str) -> Leak:
    found = leaking_operation(patient, training)
    if found is None:
        return Leak(_GENERIC, begins, "possible")
    name, cause = found
    begins = f"{begins}, with the operation {name}"
    return Leak(cause, begins, "likely") if cause else Leak(_GENERIC, begins, "possible")


def _in_module(trace: Trace, place: Place, changes: list[Change], begins: str) -> Leak | None:
    known = _known_layer(trace, place)
    if known is not None:
        cause, certainty = known
        return Leak(cause, begins, certainty)
    if is_norm(place.module):
        cause = (
            "The norm takes its mean and variance over the sequence axis (positions), which later "
            "tokens change. Compute it over the last axis only (dim=-1)."
        )
        return Leak(cause, begins, "likely")
    if attention_calls(trace, place.name):
        for fault in mask_faults(trace, place.name):
            return Leak(fault.cause, f"{begins}: {fault.evidence}", "certain")
        return Leak(_HEADS, begins, "likely")
    backward = not any(at > c.position for c in changes for at in c.own)
    return Leak(_REVERSED, begins, "likely") if backward else None


def _known_layer(trace: Trace, place: Place) -> tuple[str, Certainty] | None:
    """The cause of a leak in a recurrent layer or a convolution, and how certain it is."""
    parts = list(place.module.modules())
    if any(isinstance(part, nn.RNNBase) and part.bidirectional for part in parts):
        return "The recurrent layer is bidirectional: it reads the sample in both directions.", (
            "certain"
        )
    if isinstance(place.module, nn.RNNBase):
        cause = (
            "The initial state of the recurrent layer has read later tokens, such as the final "
            "state of another layer, which has read the whole sample. Start from zeros or a "
            "parameter."
        )
        return cause, "certain"
    length = trace.tokens.shape[1]
    convolutions = [part for part in parts if isinstance(part, nn.Conv1d)]
    if any(part.in_channels == length != trace.logits.shape[-1] for part in convolutions):
        cause = (
            "The convolution runs over the features, with positions as channels: nn.Conv1d "
            "expects (B, D, T). Transpose before and after it."
        )
        return cause, "certain"
    if convolutions:
        cause = (
            "The convolution is centred: it is padded on both sides, so it covers later "
            "positions (or what is padded too much is cut at the start, not the end). Pad "
            "(kernel_size - 1) * dilation positions on the left only."
        )
        return cause, "likely"
    return None


def rearranged(trace: Trace) -> str | None:
    """What happens to the logits after the last module, or None if nothing known does."""
    logits = trace.logits
    if logits.shape[1] > 1 and _near(logits, logits[:, -1:].expand_as(logits)):
        return (
            "The same logits are returned at all positions: those of the last position, or of a "
            "mean over positions."
        )
    last = _last_of_shape(trace, logits)
    if last is None or torch.equal(last, logits):
        return None
    if _near(last[:, 1:], logits[:, :-1]):
        return (
            "The logits are shifted by one position (a roll or a slice): those of the next token "
            "are returned. Logits at position p belong to token p; only targets are shifted."
        )
    if _near(last[:, :-1], logits[:, 1:]):
        return (
            "The logits are shifted by one position: those of the previous token are returned, so "
            "a position does not see its own token."
        )
    for order in ((0, 2, 1), (1, 0, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)):
        if torch.equal(last.permute(order).reshape(logits.shape), logits):
            return (
                "The output is transposed and reshaped: its axes of positions and vocabulary (or "
                "samples) are swapped. Return logits (B, T, V) as the last layer gives them."
            )
    return None


def _near(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-6, atol=1e-6 * float(other.abs().max()))


def _last_of_shape(trace: Trace, logits: Tensor) -> Tensor | None:
    for each in reversed(trace.modules):
        if each.name and each.output is not None and each.output.shape == logits.shape:
            return each.output
    return None
