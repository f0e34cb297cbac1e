"""The scales, norms and biases with which each planted model is tested."""

import torch

SETTINGS = (
    {"scale": 1.0, "norm": "none", "bias": False},
    {"scale": 3.0, "norm": "none", "bias": True},
    {"scale": 0.5, "norm": "layer", "bias": True},
    {"scale": 3.0, "norm": "rms", "bias": False},
)


WEIGHTS = 2e-4
"""The largest absolute error of attention weights, from scores of 40 that are right up to 5e-6."""


def setting_id(settings):
    """A short name of a setting for tests."""
    return f"{settings['norm']}-{settings['scale']:g}-{'bias' if settings['bias'] else 'plain'}"


def tolerance(settings, logit):
    """The largest absolute error of logits that are at most ``logit``.

    With a norm, readers see a relative error of about |c|² / (2 C²), see
    :mod:`tests.analysis.planted.stream`.
    """
    return logit * (1e-5 if settings["norm"] == "none" else 5e-4)


def logits_of(model, tokens):
    """The logits (B, T, V) of tokens (B, T), as a float64 array."""
    with torch.no_grad():
        return model(torch.as_tensor(tokens)).double().numpy()


def without_constant(logits):
    """Logits minus their mean over tokens, which has no effect on probabilities."""
    return logits - logits.mean(-1, keepdims=True)


def losses(logits, targets):
    """The cross-entropies, from logits (…, V) and targets (…)."""
    values = torch.as_tensor(logits)
    found = -values.log_softmax(-1).gather(-1, torch.as_tensor(targets)[..., None])[..., 0]
    return found.numpy()
