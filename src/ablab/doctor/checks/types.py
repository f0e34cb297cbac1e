"""Can the model be moved to another precision and another device?"""

import torch

from ablab.doctor.check import Finding, check
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient
from ablab.model.unregistered import loose_tensors

_OTHER_DEVICE = ("expected device meta", "same device", "on device meta")


@check("types", "model", "the model follows .double() and .to(device)")
def types(patient: Patient) -> list[Finding]:
    """Runs the model in float64 and, without values, on torch's meta device."""
    left_behind = _left_behind(patient)
    # Unregistered tensors would fail on another device too; they are already reported.
    loose = loose_tensors(patient.model())
    return [*_in_float64(patient), *left_behind, *([] if loose else _on_another_device(patient))]


def _in_float64(patient: Patient) -> list[Finding]:
    tokens, _ = patient.batch(2)
    cause = (
        "A tensor is created in the forward pass, or stored on the model, with a fixed precision "
        "(torch.zeros(…), .float()). Create it with dtype=x.dtype, or register it as a buffer."
    )
    try:
        with torch.no_grad():
            logits = patient.model().double().eval()(tokens)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        return [Finding("the model does not run in float64", reason, cause)]
    if logits.dtype != torch.float64:
        given = f"a model in float64 gives logits in {logits.dtype}"
        return [Finding("the model does not stay in float64", given, cause)]
    return []


def _left_behind(patient: Patient) -> list[Finding]:
    loose = [each for each in loose_tensors(patient.model()) if not each.trains]
    if not loose:
        return []
    return [
        Finding(
            "some tensors do not move with the model",
            listed(f"{each.name} ({each.size:,} entries)" for each in loose),
            "They are plain attributes, which .to(), .double() and state_dict() ignore. Register "
            "them with register_buffer (persistent=False if they need not be saved).",
        )
    ]


def _on_another_device(patient: Patient) -> list[Finding]:
    tokens, _ = patient.batch(2)
    try:
        with torch.no_grad():
            patient.model().to("meta").eval()(tokens.to("meta"))
    except Exception as error:  # a model may branch on values, which meta tensors do not have
        reason = str(error)
        if any(words in reason for words in _OTHER_DEVICE):
            return [
                Finding(
                    "the model does not run on another device",
                    f"{type(error).__name__}: {reason.splitlines()[0]}",
                    "A tensor is created in the forward pass without a device, or is a plain "
                    "attribute. Create it with device=tokens.device, or register it as a buffer.",
                )
            ]
    return []
