import torch

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


def test_tied_embeddings_are_one_parameter():
    model = build_model(TransformerConfig(d_model=8, tied_embeddings=True), 12, 8, seed=0)
    assert model.unembedding.weight is model.embedding.weight
    assert "unembedding.weight" not in dict(model.named_parameters())


def test_a_bigram_is_its_table():
    model = build_model(BigramConfig(), 12, 8, seed=0)
    tokens = torch.tensor([[3, 7]])
    assert torch.equal(model(tokens), model.embedding.weight[tokens])
