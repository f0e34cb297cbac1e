"""Every pair of settings of two different kinds trains, or says clearly why it cannot."""

from itertools import combinations

import numpy as np
import pytest
import torch

from ablab.config import InputError
from ablab.experiments import experiment
from ablab.train.method import SOLO
from ablab.train.stack import Stack

STEPS = 20
BASE = {
    "name": "pair",
    "task": {"kind": "addition", "n_digits": 2, "target": "all"},
    "model": {"d_model": 8, "n_heads": 4, "n_layers": 2},
    "train": {"steps": STEPS, "batch_size": 8, "lr": 1e-3},
}
A, M, T = "model.attention", "model.mlp", "train"
KINDS = {
    "activation": [
        f"{A}.activation={kind}"
        for kind in ("softmax1", "sigmoid", "sigmoid_n", "sigmoid_sqrt_n", "tanh", "none", "relu")
    ],
    "logit bias": [f"{A}.logit_bias=-1.5", f"{A}.logit_bias='-log n'"],
    "learned bias": [f"{A}.learned_logit_bias=true"],
    "temperature": [f"{A}.temperature=2"],
    "learned temperature": [f"{A}.learned_temperature=true"],
    "qk_activation": [f"{A}.qk_activation={kind}" for kind in ("gelu", "relu", "silu")],
    "qk_norm": [f"{A}.qk_norm={kind}" for kind in ("frobenius", "rms", "layer")],
    "post_norm": [f"{A}.post_norm={kind}" for kind in ("rms", "layer")],
    "window": [f"{A}.window=3"],
    "n_kv_heads": [f"{A}.n_kv_heads=2"],
    "attention dropout": [f"{A}.dropout=0.1"],
    "attention": [f"{A}=null"],
    "output projection": [f"{A}.output_projection=false"],
    "heads": ["model.n_heads=1", "model.n_heads=8"],
    "position": [f"model.position={kind}" for kind in ("sinusoidal", "rope", "alibi", "none")],
    "norm": ["model.norm=rms", "model.norm=none"],
    "norm place": ["model.norm_place=post"],
    "mlp": [f"{M}=null", f"{M}.output_projection=false"],
    "mlp activation": [f"{M}.activation={kind}" for kind in ("relu", "silu", "tanh")],
    "gated": [f"{M}.gated=true"],
    "mlp norm": [f"{M}.norm=layer"],
    "bias": ["model.bias=false"],
    "residual": ["model.residual=false"],
    "layer scale": ["model.layer_scale=0.1"],
    "tied": ["model.tied_embeddings=true"],
    "dropout": ["model.dropout=0.1"],
    "blocks": [
        "model.blocks.1.attention.activation=sigmoid",
        "model.blocks.0={position: rope, norm: rms}",
    ],
    "kind": ["model.kind=thinker", "model.kind=bigram"],
    "loss": [f"{T}.loss.kind=stablemax", f"{T}.loss.kind=mse"],
    "label smoothing": [f"{T}.loss.label_smoothing=0.1"],
    "z-loss": [f"{T}.loss.z_loss=1e-4"],
    "loss type": [f"{T}.loss.dtype=float64"],
    "optimizer": [f"{T}.optimizer={kind}" for kind in ("adam", "sgd", "lion", "muon")],
    "decay": [f"{T}.decay=matrices"],
    "clipping": [f"{T}.clip_norm=0.5"],
    "schedule": [f"{T}.schedule=cosine"],
    "precision": [f"{T}.precision=bfloat16", f"{T}.precision=float64"],
    "recovery": [T + ".recover={every: 5}"],
}
PAIRS = [
    (one, other)
    for first, second in combinations(KINDS, 2)
    for one in KINDS[first]
    for other in KINDS[second]
]
CPU = torch.device("cpu")


def losses_of(*overrides):
    (run,) = experiment(BASE, *overrides).runs
    return Stack([run], None, CPU, SOLO).advance(STEPS).losses


def outcome(*overrides):
    """The error of a pair; None where it trained."""
    try:
        losses = losses_of(*overrides)
    except InputError as error:
        return str(error)
    assert losses.shape == (STEPS, 1)
    assert np.isfinite(losses).all(), overrides
    return None


def check(pairs):
    """Each trains, or its error names a setting of the pair and what is wrong with it."""
    refused = 0
    for one, other in pairs:
        error = outcome(one, other)
        if error is None:
            continue
        refused += 1
        keys = [part.split("=")[0].rpartition(".")[2] for part in (one, other)]
        assert any(key in error for key in keys), f"{one} and {other}: {error}"
        assert len(error.splitlines()[0]) > 20, error
    return refused


# Those that softmax does not see (refused), and recovery, which waits for a jump.
QUIET = [*KINDS["logit bias"], *KINDS["learned bias"], *KINDS["recovery"]]


def test_no_setting_is_ignored():
    plain = losses_of()
    for setting in (each for kind in KINDS.values() for each in kind if each not in QUIET):
        assert (losses_of(setting) != plain).any(), setting
    sigmoid = f"{A}.activation=sigmoid"
    found = [losses_of(sigmoid, each) for each in (f"{A}.logit_bias=-1.5", *KINDS["learned bias"])]
    assert all((each != losses_of(sigmoid)).any() for each in found)


def test_a_share_of_all_pairs():
    check(PAIRS[::41])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_every_pair(part):
    assert check(PAIRS[part::8]) < len(PAIRS) // 16


def main():
    """Prints how many pairs train, and each error once."""
    refused = {}
    for pair in PAIRS:
        error = outcome(*pair)
        if error is not None:
            refused.setdefault(error.splitlines()[0], []).append(pair)
    count = sum(map(len, refused.values()))
    print(f"{len(PAIRS)} pairs: {len(PAIRS) - count} train for {STEPS} steps, {count} are refused")
    for error, pairs in refused.items():
        print(f"{len(pairs):4} {error}\n       such as {' '.join(pairs[0])}")


if __name__ == "__main__":
    main()
