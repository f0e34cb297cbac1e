import pytest
import torch

import ablab
from ablab.config import InputError
from ablab.model.build import build_model
from ablab.model.transformer_config import TransformerConfig

TOKENS = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])


@pytest.fixture
def model():
    return build_model(TransformerConfig(d_model=8, n_heads=2, n_layers=2), 12, 4, seed=0)


def test_watching_changes_nothing_and_shows_every_site(model):
    logits, seen = ablab.watch(model, TOKENS, ["*"])
    torch.testing.assert_close(logits, model(TOKENS))
    assert seen["logits"] is logits
    torch.testing.assert_close(
        seen["blocks.1.resid_mid"], seen["blocks.1.resid_pre"] + seen["blocks.1.attn_out"]
    )
    z = (seen["blocks.0.attn.pattern"] @ seen["blocks.0.attn.v"].transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(seen["blocks.0.attn.z"], z)


def test_shapes_follow_transformerlens(model):
    shapes = {name: tuple(t.shape) for name, t in ablab.watch(model, TOKENS, ["*"])[1].items()}
    assert shapes["blocks.0.attn.q"] == (2, 4, 2, 4)  # (B, T, H, K)
    assert shapes["blocks.0.attn.attn_scores"] == (2, 2, 4, 4)  # (B, H, T, T)
    assert shapes["blocks.0.mlp.pre"] == (2, 4, 32)
    assert shapes["pos_embed"] == (2, 4, 8)


def test_replacing_a_site_changes_what_follows(model):
    without = ablab.replace(model, TOKENS, {"blocks.1.mlp_out": lambda x: x * 0})
    _, seen = ablab.watch(model, TOKENS, ["blocks.1.resid_mid"])
    with torch.no_grad():
        expected = model.unembedding(model.norm(seen["blocks.1.resid_mid"]))
    torch.testing.assert_close(without, expected)


def test_zeroed_heads_take_their_output_away(model):
    silent = ablab.replace(model, TOKENS, {"blocks.*.hook_attn_out": torch.zeros_like})
    zeroed = ablab.replace(model, TOKENS, {"blocks.*.attn.z": lambda z: z * 0})
    torch.testing.assert_close(silent, zeroed)  # biases start at zero


def test_gradients_at_sites_are_finite_differences(model):
    model = model.double()
    site = "blocks.0.resid_mid"

    def loss(logits):
        return logits.logsumexp(-1).mean()

    value, found = ablab.gradients(model, TOKENS, loss, [site, "blocks.0.attn.pattern"])
    step = torch.zeros(2, 4, 8, dtype=torch.float64)
    step[1, 2, 3] = 1e-5
    up = loss(ablab.replace(model, TOKENS, {site: lambda x: x + step}))
    down = loss(ablab.replace(model, TOKENS, {site: lambda x: x - step}))
    torch.testing.assert_close(found[site][1, 2, 3], (up - down).detach() / 2e-5)
    assert found["blocks.0.attn.pattern"].shape == (2, 2, 4, 4)
    torch.testing.assert_close(value, loss(model(TOKENS)).detach())


def test_a_pattern_that_matches_nothing_suggests_the_nearest(model):
    with pytest.raises(InputError) as caught:
        ablab.watch(model, TOKENS, ["blocks.0.atn.q"])
    assert caught.value.problems[0].suggestion == "blocks.0.attn.q"


def test_a_replacement_of_another_shape_is_an_error(model):
    with pytest.raises(InputError, match="different shape"):
        ablab.replace(model, TOKENS, {"embed": lambda x: x[:1]})


def test_a_module_that_ablab_has_not_made_has_no_known_sites():
    tokens = torch.zeros(1, 4, dtype=torch.long)
    with pytest.raises(InputError, match="if ablab has made the model") as caught:
        ablab.watch(torch.nn.Embedding(5, 3), tokens, ["*"])
    assert caught.value.problems[0].given == "Embedding"
