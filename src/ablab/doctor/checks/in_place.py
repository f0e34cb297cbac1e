"""Does a pass leave the model in the state that the next pass needs?"""

import torch
from torch import Tensor

from ablab.doctor.check import Finding, check
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient
from ablab.model.unregistered import loose_tensors

_CACHE = (
    "A tensor that outlives the pass is written in place, such as a cache: "
    "self.k_cache[:, a:b] = k. The next pass overwrites values that the backward pass still needs, "
    "or keeps the graph of the last pass alive. In training, use k itself; write to a cache only "
    "without gradients, or create a new one with torch.cat."
)


@check("in_place", "model", "passes do not write to tensors that outlive them")
def in_place(patient: Patient) -> list[Finding]:
    """Runs two batches forward and backward in two orders; finds tensors that a pass changes."""
    findings = []
    error = patient.training_error
    if error is not None:
        order, reason = error
        about_graph = "inplace" in reason or "second time" in reason
        findings.append(
            Finding(
                "two training passes fail",
                f"{order}: {reason.splitlines()[0]}",
                _CACHE if about_graph else "See the error; training would raise it too.",
            )
        )
    findings += _input(patient)
    model = patient.model().train()
    tensors = _tensors(model)
    before = {name: (each, each.detach().clone()) for name, each in tensors.items()}
    with torch.no_grad():
        model(patient.batch(2)[0])
    now = _tensors(model)
    # A plain attribute that is assigned a new tensor is an output of the pass, not a cache.
    buffers = dict(model.named_buffers())
    written = [
        name
        for name, (tensor, old) in before.items()
        if name in now and (name in buffers or now[name] is tensor) and not _same(now[name], old)
    ]
    if written:
        findings.append(
            Finding(
                "a forward pass writes to the model's tensors",
                listed(written),
                _CACHE + " A running statistic (as in BatchNorm) is such a tensor too: with it, a "
                "run would no longer be a function of its parameters.",
            )
        )
    return findings


def _input(patient: Patient) -> list[Finding]:
    """A finding if a pass writes to its tokens."""
    tokens, _ = patient.batch(3)
    given = tokens.clone()
    with torch.no_grad():
        patient.model().eval()(given)
    if torch.equal(given, tokens):
        return []
    places = sorted({int(place) for place in (given != tokens).nonzero()[:, 1]})
    return [
        Finding(
            "the model overwrites its input",
            f"the tokens at positions {listed(places)} change in a pass",
            "The pass writes to the tokens in place (tokens[:, 0] = …), so whatever uses the batch "
            "afterwards (the targets, a second pass) gets other tokens. Write to a copy: "
            "tokens.clone().",
            "certain",
        )
    ]


def _tensors(model: torch.nn.Module) -> dict[str, Tensor]:
    """Buffers and unregistered tensors, by name."""
    loose = {each.name: each.value for each in loose_tensors(model)}
    plain = {name: value for name, value in loose.items() if isinstance(value, Tensor)}
    return dict(model.named_buffers()) | plain


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())
