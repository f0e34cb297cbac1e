"""The residual stream of models whose weights were written by hand, and of random ones."""

import numpy as np
import pytest
import torch

import ablab
from ablab.model.build import build_model
from ablab.model.interventions import watch
from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.modular import Modular
from ablab.tasks.modular_config import ModularConfig
from tests.analysis.planted.modular import modular_adder, pairs
from tests.analysis.readers import row, scalars

PLACES = ("pre", "mid", "post")


def test_at_the_equals_sign_of_the_planted_adder():
    p = 29
    adder = modular_adder(p)
    found = ablab.analyze(adder.model, "residual_stream", task=Modular(adder.task))
    values = scalars(found)
    assert values["varies_before_attention"] == 0  # = is always the same token
    # For each key frequency, the head writes the mean of (cos wa, sin wa) and (cos wb, sin wb) into
    # directions of its own. Over all a and b, its mean is 0 and its mean square 1/2, half of that
    # of one operand: 3/2 for three frequencies. What = has before is orthogonal to it: two unit
    # vectors, its own and the one that all tokens have in place of biases.
    before = row(found, "positions", place="pre", position=2)
    assert before["rms"] ** 2 * adder.model.config.d_model == pytest.approx(2, rel=1e-5)
    assert values["varies_after_attention"] == pytest.approx(3 / 7, rel=1e-4)
    assert row(found, "positions", place="pre", position=0)["varies"] > 0.1


def test_embeddings_by_hand():
    """The operands 0, 1 and 2 are embedded as 3, 4 and 5 times one direction."""
    task = ModularConfig(p=3)
    config = TransformerConfig(
        n_layers=1, d_model=4, n_heads=1, norm="none", position="none", bias=False
    )
    model = build_model(config, task.vocab_size, task.input_length, seed=0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.embedding.weight[:, 0] = torch.tensor([3.0, 4.0, 5.0, 7.0])
    found = ablab.analyze(model, "residual_stream", task=Modular(task))
    # The mean is 4, the variance 2/3, and the mean square 50/3.
    for place in PLACES:
        for position in (0, 1):
            own = row(found, "positions", place=place, position=position)
            assert own["varies"] == pytest.approx((2 / 3) / (50 / 3))
            assert own["rms"] == pytest.approx(np.sqrt(50 / 3 / 4))
        assert row(found, "positions", place=place, position=2)["varies"] == 0
    assert set(scalars(found).values()) == {0.0}


def test_of_two_random_blocks_it_is_what_numpy_gives():
    task = ModularConfig(p=7)
    config = TransformerConfig(n_layers=2, d_model=8, n_heads=2)
    model = build_model(config, task.vocab_size, task.input_length, seed=1).eval()
    found = ablab.analyze(model, "residual_stream", task=Modular(task))
    names = [f"blocks.{block}.resid_{place}" for block in (0, 1) for place in PLACES]
    with torch.no_grad():
        _, taken = watch(model, torch.from_numpy(pairs(7)), names)
    for name, values in taken.items():
        block, place = int(name[7]), name.rpartition("_")[2]
        x = values.double().numpy()
        expected = x.var(axis=0).sum(-1) / np.square(x).mean(axis=0).sum(-1)
        for position in range(3):
            own = row(found, "positions", block=block, place=place, position=position)
            assert own["varies"] == pytest.approx(expected[position], abs=1e-6)
    last = taken["blocks.1.resid_post"].double().numpy()[:, 2]
    expected = last.var(axis=0).sum() / np.square(last).mean(axis=0).sum()
    assert scalars(found)["varies_at_end"] == pytest.approx(expected, abs=1e-6)
