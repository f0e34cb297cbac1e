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
FEW = 3  # steps in which every setting shows
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

# What is refused, as the documentation has it. A softmax does not see what shifts all scores of a
# row alike.
BIASES = [*KINDS["logit bias"], *KINDS["learned bias"]]
SEEN_WITH_BIASES = [*KINDS["activation"], *KINDS["attention"]]  # no attention has no bias either
# A table of bigrams has none of the model's settings, a thinker all but these.
NOT_A_THINKERS = [
    f"{A}=null", f"{A}.window=3", "model.position=rope", "model.position=alibi", *KINDS["blocks"],
    *KINDS["tied"],
]  # fmt: skip
AT_ODDS = [
    {f"{A}.n_kv_heads=2", "model.n_heads=1"},  # each serves as many heads
    {"model.n_heads=8", "model.position=rope"},  # which turns pairs of a head's one entry
    {"model.n_heads=8", "model.blocks.0={position: rope, norm: rms}"},
    {f"{T}.loss.kind=mse", f"{T}.loss.label_smoothing=0.1"},
    {f"{T}.loss.kind=mse", f"{T}.loss.z_loss=1e-4"},
    {f"{T}.loss.kind=stablemax", f"{T}.loss.z_loss=1e-4"},
]


def is_refused(one, other):
    """Whether a pair makes no sense."""
    for first, second in ((one, other), (other, one)):
        if first in BIASES and second not in SEEN_WITH_BIASES:
            return True
        if first == "model.kind=bigram" and second.startswith("model."):
            return True
        if first == "model.kind=thinker" and second in NOT_A_THINKERS:
            return True
    return {one, other} in AT_ODDS


def losses_of(*overrides, steps=STEPS):
    (run,) = experiment(BASE, *overrides).runs
    return Stack([run], None, CPU, SOLO).advance(steps).losses


def outcome(*overrides, trains=True):
    """The error of a pair; None where it trained, or could."""
    try:
        if not trains:
            experiment(BASE, *overrides)
            return None
        losses = losses_of(*overrides)
    except InputError as error:
        return str(error)
    assert losses.shape == (STEPS, 1)
    assert np.isfinite(losses).all(), overrides
    return None


def check(pairs, trains=True):
    """Each trains, or is refused as it should, by an error that names a setting of the pair."""
    for one, other in pairs:
        error = outcome(one, other, trains=trains)
        assert (error is not None) == is_refused(one, other), f"{one} and {other}: {error}"
        if error is None:
            continue
        keys = [part.split("=")[0].rpartition(".")[2] for part in (one, other)]
        assert any(key in error for key in keys), f"{one} and {other}: {error}"
        assert len(error.splitlines()[0]) > 20, error


# Those that softmax does not see (refused), and recovery, which waits for a jump.
QUIET = [*BIASES, *KINDS["recovery"]]


def test_no_setting_is_ignored():
    plain = losses_of(steps=FEW)
    for setting in (each for kind in KINDS.values() for each in kind if each not in QUIET):
        assert (losses_of(setting, steps=FEW) != plain).any(), setting
    sigmoid = f"{A}.activation=sigmoid"
    alone = losses_of(sigmoid, steps=FEW)
    for setting in (f"{A}.logit_bias=-1.5", *KINDS["learned bias"]):  # -log n is sigmoid's own
        assert (losses_of(sigmoid, setting, steps=FEW) != alone).any(), setting


def test_pairs_are_refused_where_they_make_no_sense():
    check(PAIRS, trains=False)
    assert sum(is_refused(*pair) for pair in PAIRS) == 222 and len(PAIRS) == 2029


def test_a_share_of_all_pairs_trains():
    assert sum(not is_refused(*pair) for pair in PAIRS[::41]) == 45
    check(PAIRS[::41])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_every_pair(part):
    check(PAIRS[part::8])


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
