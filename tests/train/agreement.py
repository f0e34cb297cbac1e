"""Runs trained by a method beside eager ones alone, for tests."""

import numpy as np
import torch

from ablab.model.attention_config import AttentionConfig
from ablab.model.transformer_config import TransformerConfig
from ablab.train.method import SOLO, Method
from ablab.train.stack import Stack, initial_model
from tests.helpers import ADDITION, BIGRAM, TEXT, make_run

CPU = torch.device("cpu")
STEPS = 40
DROPOUT = TransformerConfig(d_model=8, n_heads=2, dropout=0.1)
BARE = TransformerConfig(
    d_model=8, n_heads=2, norm="none", tied_embeddings=True, residual=False,
    attention=AttentionConfig(output_projection=False), mlp=None,
)  # fmt: skip
INNERMOST = Method("stack", True, "innermost", "plain", rows=1)
COMPILED = {
    "usual": Method("stack", True, rows=1),
    "usual, plain, parts": Method("stack", True, attention="plain", rows=1, samples=8),
    "usual, two rows": Method("stack", True, rows=2),
    "innermost": INNERMOST,
    "innermost, parts": Method("stack", True, "innermost", "plain", rows=1, samples=8),
    "innermost, two rows": Method("stack", True, "innermost", "plain", rows=2),
}
OPTIMIZERS = {
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "decay": "matrices", "clip_norm": 0.5},
    "adam": {"optimizer": "adam", "weight_decay": 0.01},
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "lr": 0.05},
    "nesterov": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "lr": 0.05},
    "muon": {"optimizer": "muon", "lr": 5e-3},
}
PARTS = {
    "addition": {"model": DROPOUT, "task": ADDITION},
    "text": {"model": DROPOUT, "task": TEXT},
    "bigram": {"model": BIGRAM, "task": TEXT},
    "bare": {"model": BARE, "task": ADDITION},
    "float64": {"model": DROPOUT, "precision": "float64"},
    "loss in float64": {"model": DROPOUT, "loss": {"dtype": "float64"}},
}
_ALONE = {}


def alone(run, steps):
    """What a run by itself comes to, trained eagerly; worked out once for all methods."""
    key = repr(vars(run)), steps
    if key not in _ALONE:
        stack = Stack([run], None, CPU, SOLO)
        assert torch.equal(stack.layout.flatten(initial_model(run)), stack.theta[0])
        _ALONE[key] = stack.advance(steps)
    return _ALONE[key]


def agree(parts, settings, method, steps=STEPS):
    runs = [make_run(seed, **parts, **settings) for seed in (0, 1, 7)]
    advance = Stack(runs, None, CPU, method).advance(steps)
    for index, run in enumerate(runs):
        single = alone(run, steps)
        np.testing.assert_allclose(advance.losses[:, index], single.losses[:, 0], rtol=1e-4)
        np.testing.assert_allclose(advance.grad_norms[index], single.grad_norms[0], rtol=1e-2)
