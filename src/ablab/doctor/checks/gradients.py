"""Does every parameter learn?"""

from collections import defaultdict

import torch
from torch import Tensor, nn

from ablab.doctor.check import Certainty, Finding, check
from ablab.doctor.detached import detached_branches
from ablab.doctor.messages import listed
from ablab.doctor.parts import is_users
from ablab.doctor.patient import Patient
from ablab.doctor.trace import Call, record
from ablab.model.roles import Role, roles_by_name

_SAMPLES = 16
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
                "once and repeated in a list ([block] * n), so all layers are the same block with "
                "shared weights. Create each one separately.",
            )
        )
    storage = _same_storage(model)
    if storage:
        findings.append(
            Finding(
                "two parameters share their memory",
                listed(storage),
                "One was assigned to the other's .data (a weight tied by .data): the optimizer "
                "updates the memory twice, and moving or copying the model separates them. Assign "
                "the parameter itself: self.head.weight = self.embedding.weight.",
                "certain",
            )
        )
    copies = _copies(model)
    if copies:
        findings.append(
            Finding(
                "an embedding and another matrix start with equal values",
                listed(copies),
                "The output layer is a copy of the embedding (clone, copy_, load_state_dict), not "
                "tied to it: the two are trained apart. To tie them, assign the parameter itself.",
            )
        )
    findings += _missing(patient, frozen)
    if not findings and is_users(patient):
        findings += detached_branches(patient)
    return findings + _rows(patient)


def _missing(patient: Patient, frozen: list[str]) -> list[Finding]:
    """A finding if parameters get no gradient."""
    model = patient.model()
    missing = patient.without_gradient if len(frozen) < len(list(model.parameters())) else {}
    if not missing:
        return []
    evidence = listed(f"{name}: {what}" for name, what in missing.items())
    tokens, _ = patient.batch(2)
    outside = record(patient.shaken(), tokens, gradients=True).without_graph
    certainty: Certainty = "likely"
    if outside:
        evidence += f"; {listed(outside)} run under torch.no_grad"
        certainty = "certain"
    return [
        Finding(
            "parameters get no gradient",
            evidence,
            "They are not used in the forward pass, their output is detached (.detach(), "
            ".data, torch.no_grad(), .item(), argmax), or it is multiplied by zero.",
            certainty,
        )
    ]


def _rows(patient: Patient) -> list[Finding]:
    """Findings on tokens whose row of an embedding, or parts of a layer, get no gradient."""
    model = patient.shaken()
    tokens, _ = patient.batch(_SAMPLES)
    trace = record(model, tokens, gradients=True)
    if not trace.logits.requires_grad:
        return []
    # Of all positions, not of the predicted ones only, which may not need every part.
    trace.logits.square().mean().backward()  # type: ignore[no-untyped-call]
    tables = [each.argument(1, "weight") for each in trace.of("embedding")]
    found = [
        row
        for call in trace.of("embedding")
        if torch.equal(call.argument(0, "input"), tokens)
        for row in _padding_rows(patient, call)
    ]
    parts = [
        (name, text)
        for name, each in model.named_parameters()
        if each.ndim == 2 and not any(each is table for table in tables)
        if (text := _unused_part(each))
    ]
    if parts:
        found.append(
            Finding(
                "a part of a layer's outputs gets no gradient",
                listed(f"{name.removeprefix('module.')}: {text}" for name, text in parts),
                "These outputs are not used, or have no effect: in a projection to queries, keys "
                "and values one third is unused, such as the values (last third).",
            )
        )
    return found


def _padding_rows(patient: Patient, call: Call) -> list[Finding]:
    """A finding if the row of an ordinary token gets no gradient."""
    padding = call.argument(2, "padding_idx")
    gradient = call.argument(1, "weight").grad
    present = call.argument(0, "input").unique().tolist()
    if padding is None or padding not in present or padding == patient.run.task.padding:
        return []
    if gradient is None or gradient[padding].any():
        return []
    return [
        Finding(
            "the row of an ordinary token gets no gradient",
            f"token {padding} occurs in the batch, and {call.where} has padding_idx={padding}",
            f"Token {padding} is no padding in this task, so its embedding row is never trained. "
            "Leave padding_idx out, or set it to the task's padding.",
            "certain",
        )
    ]


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


def _unused_part(weight: Tensor) -> str:
    """Which third or half of a matrix's rows gets no gradient, in words; empty if none does."""
    if weight.grad is None or not weight.grad.any():
        return ""
    alive = weight.grad.any(1)  # (rows,)
    for parts in (2, 3):
        if len(alive) % parts or len(alive) < 4 * parts:
            continue
        dead = [n for n, part in enumerate(alive.chunk(parts)) if not part.any()]
        if dead:
            size = len(alive) // parts
            return f"rows {dead[0] * size} to {(dead[0] + 1) * size - 1} of {len(alive)}"
    return ""


def _same_storage(model: nn.Module) -> list[str]:
    """Names of different parameters that begin at the same address."""
    names: dict[int, list[str]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.numel():
            names[parameter.data_ptr()].append(name.removeprefix("module."))
    return [" = ".join(group) for group in names.values() if len(group) > 1]


def _copies(model: nn.Module) -> list[str]:
    """Matrices that are equal to an embedding's, but other parameters in other memory."""
    tables = {
        f"{name}.weight": part.weight
        for name, part in model.named_modules()
        if isinstance(part, nn.Embedding)
    }
    return [
        f"{name.removeprefix('module.')} = {own.removeprefix('module.')}"
        for own, table in tables.items()
        for name, each in model.named_parameters()
        if each.shape == table.shape and each.data_ptr() != table.data_ptr() and name not in tables
        if torch.equal(each, table) and bool((each != each.flatten()[0]).any())
    ]
