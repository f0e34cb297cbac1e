"""The residual stream of the planted models, read through norms and at different scales."""

import numpy as np
import pytest
import torch

from ablab.model.interventions import watch
from ablab.tasks.modular_config import ModularConfig
from tests.analysis.planted.induction import induction_head
from tests.analysis.planted.settings import SETTINGS, setting_id
from tests.analysis.planted.stream import (
    blank_model,
    make_stream,
    write_embedding,
    write_reader,
    write_writer,
)

OTHERS = (
    {"scale": 3.0, "norm": "layer", "bias": False},
    {"scale": 3.0, "norm": "rms", "bias": True},
    {"scale": 0.5, "norm": "frobenius", "bias": True},
)


@pytest.mark.parametrize("settings", (*SETTINGS, *OTHERS), ids=setting_id)
def test_readers_get_the_coordinates_through_norms(settings):
    task = ModularConfig(p=5)
    stream = make_stream(("x", "y", "z"), seed=3, **settings)
    model = blank_model(stream, task, 3, n_heads=1, d_head=1, d_mlp=2, mlp={"activation": "relu"})
    tokens = np.random.default_rng(0).normal(size=(6, 4))
    tokens[:, 3] = 0
    write_embedding(stream, model, tokens)
    write_reader(stream, model.unembedding, model.norm, tokens, np.arange(6.0))
    expected = tokens @ tokens.T + np.arange(6)
    logits = model(torch.arange(3)[None])[0].detach().numpy()
    np.testing.assert_allclose(logits, expected[:3], atol=1e-3)

    # A neuron that reads x and writes z: 2 relu(x - 1) is added to z.
    block = model.blocks[0]
    first, second = np.eye(4)[0], np.eye(4)[2]
    hidden = stream.scale * np.stack([first, 0 * first])
    constants = stream.scale * np.array([-1.0, 0.0])
    write_reader(stream, block.mlp.linear, block.norm2, hidden, constants)
    write_writer(stream, block.mlp.projection, np.stack([2 * second, second]))
    added = 2 * np.maximum(tokens[:3, 0] - 1, 0)[:, None] * tokens[:, 2]
    logits = model(torch.arange(3)[None])[0].detach().numpy()
    np.testing.assert_allclose(logits, expected[:3] + added, atol=2e-3)


def test_the_basis_is_orthonormal_with_mean_zero():
    stream = make_stream(("x", "y", "z"), "layer", 2.0, True, seed=0)
    np.testing.assert_allclose(stream.basis.T @ stream.basis, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(stream.basis.sum(0), 0, atol=1e-12)
    np.testing.assert_allclose(stream.ballast @ stream.basis, 0)
    assert np.abs(stream.basis[:-2]).max() < 0.95  # not aligned with the entries
    assert np.linalg.norm(stream.ballast) == pytest.approx(1000)  # 2 C
    vectors = 2.0 * stream.directions(np.array([[1.0, 2.0, 3.0, 4.0]]))
    np.testing.assert_allclose(stream.coordinates(vectors), [[1, 2, 3, 4]])


def test_the_scale_is_that_of_all_sites_but_scores_and_logits():
    tokens = torch.tensor([[3, 12, 4, 13, 3, 12, 4]])
    seen = {
        scale: watch(induction_head(scale=scale, mlp=True).model, tokens, ["*"])[1]
        for scale in (1.0, 3.0)
    }
    unscaled = ("attn.q", "attn.k", "attn_scores", "pattern", "logits")
    for site, tensor in seen[1.0].items():
        factor = 1.0 if site.endswith(unscaled) else 3.0
        torch.testing.assert_close(seen[3.0][site], factor * tensor, rtol=1e-4, atol=1e-4, msg=site)


def test_the_arbitrary_choices_depend_on_the_seed():
    tokens = torch.tensor([[3, 12, 4, 13, 3, 12, 4]])
    first, again, second = (induction_head(seed=seed).model for seed in (0, 0, 1))
    assert torch.equal(first.embedding.weight, again.embedding.weight)
    assert (first.embedding.weight - second.embedding.weight).abs().max() > 0.1
    torch.testing.assert_close(first(tokens), second(tokens), rtol=1e-4, atol=1e-4)
