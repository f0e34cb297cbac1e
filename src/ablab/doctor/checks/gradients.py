"""Does every parameter learn?"""

from collections import defaultdict

from torch import nn

from ablab.doctor.check import Finding, check
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient
from ablab.model.roles import Role, roles_by_name

# What an output layer may be that is tied to an embedding.
_OUTPUTS = frozenset((Role.UNEMBEDDING, Role.MATRIX))


@check("gradients", "model", "every parameter gets a gradient; none is frozen or shared by mistake")
def gradients(patient: Patient) -> list[Finding]:
    """Computes the gradient of the loss on one batch, with perturbed parameters."""
    model = patient.model()
    findings = []
    frozen = [name for name, each in model.named_parameters() if not each.requires_grad]
    if frozen:
        findings.append(
            Finding(
                "parameters are frozen",
                listed(frozen),
                "requires_grad is False. ablab trains every parameter: register tensors that must "
                "not be trained as buffers (register_buffer), or set requires_grad.",
            )
        )
    shared = _shared(patient, model)
    if shared:
        findings.append(
            Finding(
                "one tensor is registered under two names",
                listed(shared),
                "A module or parameter is used more than once, such as a block that is created "
                "once and repeated in a list ([block] * n). Create each one separately.",
            )
        )
    missing = patient.without_gradient if len(frozen) < len(list(model.parameters())) else {}
    if missing:
        findings.append(
            Finding(
                "parameters get no gradient",
                listed(f"{name}: {what}" for name, what in missing.items()),
                "They are not used in the forward pass, their output is detached (.detach(), "
                ".data, torch.no_grad(), .item(), argmax), or it is multiplied by zero.",
            )
        )
    return findings


def _shared(patient: Patient, model: nn.Module) -> list[str]:
    """Names that share a tensor, except an embedding tied to an output layer."""
    roles = roles_by_name(model)
    names: dict[int, list[str]] = defaultdict(list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
    found = []
    for group in names.values():
        kinds = {roles[name] for name in group}
        others = kinds - {Role.EMBEDDING}
        tied = others != kinds and bool(others) and others <= _OUTPUTS
        if len(group) > 1 and not tied and not patient.settings.get("tied_embeddings"):
            found.append(" = ".join(group))
    return found
