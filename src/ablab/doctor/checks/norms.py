"""Does each norm act on one vector at a time, and does it match its name?"""

import torch
from torch import Tensor, nn

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.parts import is_norm
from ablab.doctor.patient import Patient


@check("norms", "model", "each norm acts on single vectors and matches its name")
def norms(patient: Patient) -> list[Finding]:
    """Changes one vector of each norm's input; tests the properties of LayerNorm and RMSNorm."""
    model = patient.shaken()
    named = {name: each for name, each in model.named_modules() if is_norm(each)}
    inputs: dict[str, Tensor] = {}

    def note(name: str) -> object:
        def hook(module: nn.Module, arguments: tuple[object, ...]) -> None:
            if len(arguments) == 1 and isinstance(arguments[0], Tensor):
                inputs.setdefault(name, arguments[0].detach().clone())

        return named[name].register_forward_pre_hook(hook)

    for name in named:
        note(name)
    with torch.no_grad():
        model(patient.batch(3)[0])
        called = {name: each for name, each in inputs.items() if each.ndim >= 2}
        if not called:
            raise NotApplicable("the model has no norm that is called on a tensor")
        model.train()  # BatchNorm uses the batch's statistics only in training mode
        findings = []
        for name, x in called.items():
            found = _mixes(name, named[name], x) or _misnamed(name, named[name], x)
            findings += [found] if found else []
    return findings


def _mixes(name: str, norm: nn.Module, x: Tensor) -> Finding | None:
    """A finding if vectors other than the changed one change."""
    before = norm(x)
    changed = x.clone()
    at = tuple(size // 2 for size in x.shape[:-1])
    changed[at] = changed[at].flip(-1) * 3 + 1
    after = norm(changed)
    if before.shape != x.shape:
        return None
    moved = (after - before).abs().amax(-1) > 1e-6 * float(before.abs().max())
    moved[at] = False
    if not moved.any():
        return None
    kind = type(norm).__name__
    if moved.ndim == 2:  # (B, T)
        others, own = bool(moved.any(1).sum() > int(moved[at[0]].any())), bool(moved[at[0]].any())
        over = "batch and sequence" if others and own else "the batch" if others else "the sequence"
    else:
        over = "the batch or the sequence"
    return Finding(
        f"the norm {name} ({kind}) mixes vectors",
        f"input {tuple(x.shape)}: changing the vector at {at} changes {int(moved.sum()):,} of "
        f"the {moved.numel() - 1:,} others",
        f"The norm runs over {over}, as BatchNorm, InstanceNorm and GroupNorm do. The norm has no "
        "axis, such as torch.norm(x) instead of torch.norm(x, dim=-1, keepdim=True), or a wrong "
        "one. Compute it over the last axis only.",
    )


def _misnamed(name: str, norm: nn.Module, x: Tensor) -> Finding | None:
    """A finding if a LayerNorm or RMSNorm lacks the properties of one."""
    kind = type(norm).__name__.lower()
    is_layer, is_rms = "layernorm" in kind, "rmsnorm" in kind
    if not (is_layer or is_rms) or x.shape[-1] < 2:
        return None
    rows = x.flatten(0, -2)  # (N, D)
    spread = rows.std(-1, keepdim=True)
    varied = spread[:, 0] > 1e-6 * rows.abs().amax(-1)
    if not varied.any():
        return None
    vectors = (100 * rows / spread)[varied]  # well above any eps
    doubled = (norm(2 * vectors) - norm(vectors)).abs().max() / norm(vectors).abs().max()
    claims = {"doubling the input changes the output": float(doubled)}
    if is_layer:
        shifted = norm(vectors + 50) - norm(vectors)
        claims["shifting the input changes the output"] = float(
            shifted.abs().max() / norm(vectors).abs().max()
        )
    if isinstance(norm, nn.LayerNorm | nn.RMSNorm):
        plain = {n: torch.full_like(p, float(n != "bias")) for n, p in norm.named_parameters()}
        y = torch.func.functional_call(norm, plain, (vectors,))
        if is_layer:
            claims["the mean is not 0"] = float(y.mean(-1).abs().max())
            claims["the variance is not 1"] = float((y.var(-1, correction=0) - 1).abs().max())
        else:
            claims["the root mean square is not 1"] = float(
                (y.square().mean(-1).sqrt() - 1).abs().max()
            )
    wrong = {claim: off for claim, off in claims.items() if off > 1e-2}
    if not wrong:
        return None
    return Finding(
        f"the norm {name} ({type(norm).__name__}) does not match its name",
        "; ".join(f"{claim}: off by {off:.3g}" for claim, off in wrong.items()),
        "A wrong axis; a missing square, root or mean; or an eps that is too large. LayerNorm: "
        "(x - mean) / sqrt(var + eps); RMSNorm: x / sqrt(mean(x²) + eps); both over the last axis.",
    )
