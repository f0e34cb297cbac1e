"""Are attention's scores scaled, relative where they should be, and do all heads learn?"""

from typing import Any

from torch import Tensor

from ablab.doctor.attention_calls import attention_calls
from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.heads import averaged_heads, equal_heads
from ablab.doctor.hidden_keys import hidden_faults
from ablab.doctor.mask_faults import is_distribution, mask_faults
from ablab.doctor.messages import listed
from ablab.doctor.parts import is_users
from ablab.doctor.patient import Patient
from ablab.doctor.scale_faults import scale_faults
from ablab.doctor.trace import Trace, record, trace_of

_SAMPLES = 8


@check("attention", "model", "attention's softmax, scale and heads are as usual")
def attention(patient: Patient) -> list[Finding]:
    """Records the calls of softmax and scaled_dot_product_attention of a user's module."""
    if not is_users(patient):
        raise NotApplicable("the model is ablab's own; see weights")
    trace = trace_of(patient)
    if not attention_calls(trace):
        raise NotApplicable("no attention weights (T, T) were seen")
    found = [
        Finding("the softmax of attention has an unusual axis", text, cause, "certain")
        for text, cause in _merged([f for f in mask_faults(trace) if f.kind == "axis"])
    ]
    found += [
        Finding("attention hides keys that it should see", text, cause, "likely")
        for text, cause in _merged(hidden_faults(trace, patient.run.task.padding))
    ]
    found += [
        Finding("attention's scores have an unusual scale", text, cause, "likely")
        for text, cause in _merged(scale_faults(trace))
    ]
    found += _twice(trace) + equal_heads(trace)
    return [*found, *_without_gradient(patient)]


def _twice(trace: Trace) -> list[Finding]:
    """A finding if what a softmax gets is a distribution already."""
    twice = [
        call.where
        for call in attention_calls(trace)
        if call.function == "softmax" and is_distribution(call.argument(0, "input"))
    ]
    if not twice:
        return []
    return [
        Finding(
            "the softmax of attention gets weights that already sum to one",
            listed(dict.fromkeys(twice)),
            "The softmax is applied twice, so the weights are nearly equal and masked positions "
            "get weight again. Apply it once.",
            "certain",
        )
    ]


def _merged(faults: list[Any]) -> list[tuple[str, str]]:
    """The faults by cause, with the places of all of them in the evidence."""
    by_cause: dict[str, list[Any]] = {}
    for fault in faults:
        by_cause.setdefault(fault.cause, []).append(fault)
    return [
        (f"{own[0].evidence}, in {listed(dict.fromkeys(f.where for f in own))}", cause)
        for cause, own in by_cause.items()
    ]


def _without_gradient(patient: Patient) -> list[Finding]:
    """Heads whose weights have no effect on the logits, and weights that are detached."""
    model = patient.shaken()
    trace = record(model, patient.batch(_SAMPLES)[0], gradients=True)
    if not trace.logits.requires_grad:
        return []
    trace.logits.square().mean().backward()  # type: ignore[no-untyped-call]
    unused, detached = _unused_heads(trace)
    found = averaged_heads(trace)
    if unused:
        cause = (
            "Their outputs are left out where the heads are merged, such as by an index or an "
            "expand of the first head. A single head's output is used in place of all heads."
        )
        message = "some heads of attention have no effect on the logits"
        found.append(Finding(message, listed(unused, between="; "), cause, "certain"))
    if detached:
        cause = (
            "The weights are detached (.detach(), .data, torch.no_grad()), so queries and keys get "
            "no gradient through them and do not learn."
        )
        message = "attention weights get no gradient"
        found.append(Finding(message, listed(detached), cause, "likely"))
    return found


def _unused_heads(trace: Trace) -> tuple[list[str], list[str]]:
    unused, detached = [], []
    for call in attention_calls(trace):
        output: Tensor = call.output
        if not output.requires_grad or output.ndim < 4:
            continue
        if call.gradient is None:
            detached.append(call.where)
            continue
        dead = ~call.gradient.transpose(0, 1).flatten(1).any(1)
        if dead.any() and not dead.all():
            heads = listed(dead.nonzero().flatten().tolist())
            unused.append(f"{call.where}: head {heads} of {len(dead)}")
    return unused, detached
