import pytest
import torch
from scipy import stats

from ablab.model.bigram_config import BigramConfig
from ablab.model.build import build_model
from ablab.model.transformer_config import TransformerConfig


def parameters(model):
    return torch.cat([p.flatten() for p in model.parameters()])


def test_initial_parameters_are_a_function_of_the_seed_alone():
    config = TransformerConfig(d_model=8)
    torch.manual_seed(1)
    one = parameters(build_model(config, 12, 8, seed=3))
    before = torch.get_rng_state()
    two = parameters(build_model(config, 12, 8, seed=3))
    assert torch.equal(one, two)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(one, parameters(build_model(config, 12, 8, seed=4)))


def test_initial_scales():
    config = TransformerConfig(d_model=64, n_layers=8, init_std=0.5)
    named = dict(build_model(config, 100, 50, seed=0).named_parameters())
    std = {name: p.std().item() for name, p in named.items() if p.ndim == 2}
    # The smallest matrix has 3,200 entries: a deviation's error is about 1.3 %.
    assert abs(std["embedding.weight"] / 0.5 - 1) < 0.06
    assert abs(std["blocks.0.attention.query.weight"] / 0.5 - 1) < 0.06
    assert abs(std["blocks.7.mlp.projection.weight"] / (0.5 / 4) - 1) < 0.06
    assert abs(std["blocks.3.attention.projection.weight"] / (0.5 / 4) - 1) < 0.06
    assert (named["blocks.0.mlp.linear.bias"] == 0).all()
    assert (named["blocks.0.norm1.weight"] == 1).all()


def initial(**settings):
    config = TransformerConfig(d_model=64, n_layers=8, init_std=0.5, **settings)
    return {
        name: p.detach()
        for name, p in build_model(config, 100, 50, seed=0).named_parameters()
        if p.ndim == 2
    }


def test_one_scale_for_all_matrices():
    found = initial(init_depth_scaling=False)
    assert all(abs(p.std().item() / 0.5 - 1) < 0.06 for p in found.values())
    scaled, last = initial(), "blocks.7.mlp.projection.weight"
    torch.testing.assert_close(found[last], 4 * scaled[last])


def test_uniform_weights_have_the_same_deviation():
    found = initial(init_distribution="uniform", init_depth_scaling=False)
    limit = 3**0.5 * 0.5
    assert all(abs(p.std().item() / 0.5 - 1) < 0.06 for p in found.values())
    assert all(limit * 0.99 < p.abs().max().item() <= limit for p in found.values())


def test_truncated_weights_are_those_of_scipy():
    found = initial(init_truncation=2.0)
    for name, scale in {
        "embedding.weight": 0.5,
        "blocks.3.attention.projection.weight": 0.125,
    }.items():
        cut = stats.truncnorm(-2, 2, scale=scale)
        assert found[name].abs().max() <= 2 * scale
        assert abs(found[name].std().item() / cut.std() - 1) < 0.06
        assert stats.kstest(found[name].flatten().numpy(), cut.cdf).pvalue > 0.001
    with pytest.raises(ValueError, match="cuts a normal distribution"):
        TransformerConfig(init_truncation=2.0, init_distribution="uniform")


def test_tied_embeddings_are_one_parameter():
    model = build_model(TransformerConfig(d_model=8, tied_embeddings=True), 12, 8, seed=0)
    assert model.unembedding.weight is model.embedding.weight
    assert "unembedding.weight" not in dict(model.named_parameters())


def test_a_bigram_is_its_table():
    model = build_model(BigramConfig(), 12, 8, seed=0)
    tokens = torch.tensor([[3, 7]])
    assert torch.equal(model(tokens), model.embedding.weight[tokens])
