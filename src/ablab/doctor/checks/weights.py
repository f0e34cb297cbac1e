"""Are attention's weights zero where they are masked, and do they sum to one?"""

from typing import Any

import torch
from torch import Tensor

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.patient import Patient
from ablab.model.attention import Attention
from ablab.model.interventions import sites, watch


@check("weights", "model", "attention's masked weights are zero; softmax's rows sum to one")
def weights(patient: Patient) -> list[Finding]:
    """Looks at every ``pattern`` site, of shape (…, T, T)."""
    model = patient.shaken()
    tokens, _ = patient.batch(4)
    names = [name for name in sites(model, tokens) if name.rpartition(".")[2] == "pattern"]
    if not names:
        raise NotApplicable("the model has no site called pattern")
    own = [part for part in model.modules() if isinstance(part, Attention)]
    if own and not any(part.causal for part in own):
        raise NotApplicable("the model's attention is not causal: nothing is masked")
    with torch.no_grad():
        _, seen = watch(model, tokens, names)
    findings = []
    for name, pattern in seen.items():
        later = torch.ones(pattern.shape[-2:], dtype=torch.bool).triu(1)  # (T, T)
        masked = pattern[..., later]
        if masked.any():
            findings.append(_unmasked(name, masked))
            continue
        sums = pattern.sum(-1)
        columns_are_one = bool((pattern.sum(-2) - 1).abs().max() < 1e-6)
        rows_are_one = bool((sums - 1).abs().max() < 1e-6)
        activation = _activation(patient.settings, name)
        if not rows_are_one and (columns_are_one or activation == "softmax"):
            findings.append(_wrong_sums(name, sums, "one"))
        elif activation == "softmax1" and sums.max() > 1 + 1e-6:
            findings.append(_wrong_sums(name, sums, "at most one"))
    return findings


def _unmasked(name: str, masked: Tensor) -> Finding:
    low, high = float(masked.min()), float(masked.max())
    if low == high == -1:
        cause = (
            "The mask is added before tanh, and tanh(-inf) is -1, not 0: multiply the weights by "
            "a mask of zeros and ones after the activation."
        )
    elif high <= -1e4:
        cause = (
            "The mask's large negative number is still there: a linear activation (or none) does "
            "not turn it into zero. Multiply the weights by a mask of zeros and ones in its place."
        )
    else:
        cause = (
            "The mask is not applied to these weights, or not after the activation: multiply them "
            "by a mask of zeros and ones."
        )
    count = int((masked != 0).sum())
    return Finding(
        f"attention looks at later positions at {name}",
        f"{count:,} of {masked.numel():,} masked weights are not zero; they lie between "
        f"{low:.4g} and {high:.4g}",
        cause,
    )


def _wrong_sums(name: str, sums: Tensor, expected: str) -> Finding:
    return Finding(
        f"attention's visible weights do not sum to {expected} at {name}",
        f"the sums lie between {float(sums.min()):.6g} and {float(sums.max()):.6g}",
        "The softmax is taken over another axis than the keys (dim=-1), or before the mask: mask "
        "the scores with minus infinity, then take the softmax over the last axis.",
    )


def _activation(settings: dict[str, Any], site: str) -> str | None:
    """The activation of the attention that a site belongs to, where the settings tell it."""
    if settings.get("kind") != "transformer":
        return None
    attention = settings.get("attention") or {}
    blocks = settings.get("blocks") or {}
    number = site.split(".")[1]
    for key, block in blocks.items():
        if str(key) == number and isinstance(block, dict):
            attention = attention | (block.get("attention") or {})
    return str(attention.get("activation", "softmax"))
