"""Are masked attention weights zero, and do the weights sum to one?"""

from typing import Any

import torch
from torch import Tensor

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.patient import Patient
from ablab.model.attention import Attention
from ablab.model.interventions import sites, watch


@check("weights", "model", "masked attention weights are zero; softmax rows sum to one")
def weights(patient: Patient) -> list[Finding]:
    """Examines every ``pattern`` site, of shape (…, T, T)."""
    model = patient.shaken()
    tokens, _ = patient.batch(4)
    names = [name for name in sites(model, tokens) if name.rpartition(".")[2] == "pattern"]
    if not names:
        raise NotApplicable("the model has no site called pattern")
    own = [part for part in model.modules() if isinstance(part, Attention)]
    if own and not any(part.causal for part in own):
        raise NotApplicable("the model's attention is not causal, so no weight is masked")
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
            "The large negative values of the mask remain: a linear activation (or none) does not "
            "map them to zero. Multiply the weights by a mask of zeros and ones instead."
        )
    else:
        cause = (
            "The mask is not applied to these weights, or it is applied before the activation. "
            "Multiply the weights by a mask of zeros and ones after the activation."
        )
    count = int((masked != 0).sum())
    return Finding(
        f"attention sees later positions at {name}",
        f"{count:,} of {masked.numel():,} masked weights are not zero; they are between "
        f"{low:.4g} and {high:.4g}",
        cause,
    )


def _wrong_sums(name: str, sums: Tensor, expected: str) -> Finding:
    return Finding(
        f"the attention weights of a query do not sum to {expected} at {name}",
        f"the sums are between {float(sums.min()):.6g} and {float(sums.max()):.6g}",
        "The softmax runs over the wrong axis, or before masking. Mask the scores with minus "
        "infinity, then apply softmax over the keys (dim=-1).",
    )


def _activation(settings: dict[str, Any], site: str) -> str | None:
    """The attention activation of a site's block, or None if the settings do not name it."""
    if settings.get("kind") != "transformer":
        return None
    attention = settings.get("attention") or {}
    blocks = settings.get("blocks") or {}
    number = site.split(".")[1]
    for key, block in blocks.items():
        if str(key) == number and isinstance(block, dict):
            attention = attention | (block.get("attention") or {})
    return str(attention.get("activation", "softmax"))
