"""Does one pass leave the model as the next needs it?"""

import torch
from torch import Tensor

from ablab.doctor.check import Finding, check
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient
from ablab.doctor.unregistered import loose_tensors

_CACHE = (
    "A tensor that outlives the pass is written in place, such as a cache: "
    "self.k_cache[:, a:b] = k. The next pass overwrites what the backward pass still needs, or "
    "carries the last pass's graph along. In training use k itself; write into a cache only "
    "without gradients, or build it anew with torch.cat."
)


@check("in_place", "model", "passes do not write into what outlives them")
def in_place(patient: Patient) -> list[Finding]:
    """Passes two batches forward and backward in two orders; looks for what a pass changes."""
    findings = []
    error = patient.training_error
    if error is not None:
        order, reason = error
        about_graph = "inplace" in reason or "second time" in reason
        findings.append(
            Finding(
                "two passes of training fail",
                f"{order}: {reason.splitlines()[0]}",
                _CACHE if about_graph else "See the error: training does the same.",
            )
        )
    model = patient.model().train()
    tensors = _tensors(model)
    before = {name: (each, each.detach().clone()) for name, each in tensors.items()}
    with torch.no_grad():
        model(patient.batch(2)[0])
    now = _tensors(model)
    # A plain attribute that holds another tensor afterwards is a note of the pass, not a cache.
    buffers = dict(model.named_buffers())
    written = [
        name
        for name, (tensor, old) in before.items()
        if name in now and (name in buffers or now[name] is tensor) and not _same(now[name], old)
    ]
    if written:
        findings.append(
            Finding(
                "a forward pass writes into the model",
                listed(written),
                _CACHE + " A running statistic (BatchNorm's) is such a tensor too: a run would no "
                "longer be a function of its parameters.",
            )
        )
    return findings


def _tensors(model: torch.nn.Module) -> dict[str, Tensor]:
    """Buffers and plain tensors by name."""
    loose = {each.name: each.value for each in loose_tensors(model)}
    plain = {name: value for name, value in loose.items() if isinstance(value, Tensor)}
    return dict(model.named_buffers()) | plain


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())
