"""Does the model go where it is sent: to another precision, to another device?"""

import torch

from ablab.doctor.check import Finding, check
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient
from ablab.doctor.unregistered import loose_tensors

_OTHER_DEVICE = ("expected device meta", "same device", "on device meta")


@check("types", "model", "the model follows .double() and .to(device)")
def types(patient: Patient) -> list[Finding]:
    """Runs the model in float64 and, without numbers, on torch's meta device."""
    left_behind = _left_behind(patient)
    # What hangs loose would stay behind on another device, and is named already.
    loose = loose_tensors(patient.model())
    return [*_in_float64(patient), *left_behind, *([] if loose else _on_another_device(patient))]


def _in_float64(patient: Patient) -> list[Finding]:
    tokens, _ = patient.batch(2)
    cause = (
        "A tensor is made in the forward pass, or kept on the model, with a precision of its own "
        "(torch.zeros(…), .float()): make it with dtype=x.dtype, or register it as a buffer."
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
            "tensors stay behind when the model moves",
            listed(f"{each.name} ({each.size:,} numbers)" for each in loose),
            "They are plain attributes, which .to(), .double() and state_dict() do not see: "
            "register_buffer them (persistent=False where they need no saving).",
        )
    ]


def _on_another_device(patient: Patient) -> list[Finding]:
    tokens, _ = patient.batch(2)
    try:
        with torch.no_grad():
            patient.model().to("meta").eval()(tokens.to("meta"))
    except Exception as error:  # a model may branch on numbers, which meta tensors have not
        reason = str(error)
        if any(words in reason for words in _OTHER_DEVICE):
            return [
                Finding(
                    "the model does not run on another device",
                    f"{type(error).__name__}: {reason.splitlines()[0]}",
                    "A tensor is made in the forward pass without a device, or kept as a plain "
                    "attribute: make it with device=tokens.device, or register it as a buffer.",
                )
            ]
    return []
