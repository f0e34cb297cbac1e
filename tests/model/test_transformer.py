"""The transformer against its formulas in float64 NumPy, and its properties."""

import pytest
import torch

from ablab.model.attention_config import AttentionConfig
from ablab.model.build import build_model
from ablab.model.forward import Forward, FusedKernels, PlainKernels
from ablab.model.interventions import sites, watch
from ablab.model.transformer_config import TransformerConfig
from tests.model.reference import VARIANTS, errors

V, T = 11, 6


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_logits_and_gradient_are_the_formulas(settings):
    forward, backward = errors(settings)
    assert forward < 1e-12
    assert backward < 1e-6


@pytest.mark.parametrize("kernels", [FusedKernels(), PlainKernels()])
@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_logits_from_a_position_on_are_those_of_all(settings, kernels):
    config = TransformerConfig(**({"d_model": 8, "n_heads": 4} | settings))
    model = build_model(config, V, T, seed=0).double()
    assert model.trims
    tokens = torch.tensor([[3, 1, 4, 1, 5, 9], [2, 7, 1, 8, 2, 8]])
    all_logits = model(tokens, Forward(kernels=kernels))
    for first in range(T):
        weights = torch.randn(2, T - first, V, dtype=torch.float64)
        logits = model(tokens, Forward(kernels=kernels, first=first))
        torch.testing.assert_close(logits, all_logits[:, first:])
        parameters = list(model.parameters())
        asked = torch.autograd.grad(
            (logits * weights).sum(), parameters, allow_unused=True, materialize_grads=True
        )
        known = torch.autograd.grad(
            (all_logits[:, first:] * weights).sum(), parameters, retain_graph=True,
            allow_unused=True, materialize_grads=True,
        )  # fmt: skip
        torch.testing.assert_close(asked, known)


def test_of_earlier_positions_the_last_block_takes_keys_and_values_alone():
    config = TransformerConfig(d_model=8, n_heads=2, n_layers=2)
    model = build_model(config, V, T, seed=0)
    tokens = torch.zeros(1, T, dtype=torch.long)
    seen = {}

    def note(name):
        def tap(tensor):
            seen[name] = tensor.shape[-2 if name.endswith(("scores", "pattern")) else 1]
            return tensor

        return tap

    names = sites(model, tokens)
    model(tokens, Forward({name: note(name) for name in names}, first=T - 1))
    after = [name for name in names if name.startswith(("blocks.1.", "ln_final", "logits"))]
    whole = ["blocks.1.resid_pre", "blocks.1.attn.k", "blocks.1.attn.v"]
    assert [name for name in after if seen[name] != 1] == whole
    assert {seen[name] for name in names if name not in after or name in whole} == {T}


@pytest.mark.parametrize(
    "settings",
    [
        {"norm": "tests.model.my_modules:OverPositions"},
        {"mlp": {"activation": "tests.model.my_modules:OverPositions"}},
        {"attention": {"post_norm": "tests.model.my_modules:OverPositions"}},
        {"attention": {"activation": "tests.model.my_modules:HalfSoftmax"}},
        {"attention": {"activation": "tests.model.my_modules:scaled"}},
    ],
)
def test_a_users_part_sees_all_positions(settings):
    model = build_model(TransformerConfig(d_model=8, n_heads=2, **settings), V, T, seed=0)
    assert not model.trims


@pytest.mark.parametrize("position", ["learned", "rope", "alibi"])
@pytest.mark.parametrize("attention", [{}, {"window": 2}, {"n_kv_heads": 1, "temperature": 0.5}])
def test_the_kernel_and_plain_products_agree(position, attention):
    config = TransformerConfig(d_model=8, n_heads=2, position=position, attention=attention)
    model = build_model(config, V, T, seed=0)
    tokens = torch.tensor([[3, 1, 4, 1, 5, 9]])
    fused = model(tokens)
    torch.testing.assert_close(model(tokens, Forward(kernels=PlainKernels())), fused)
    plain, seen = watch(model, tokens, ["*.pattern"])
    torch.testing.assert_close(plain, fused, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(seen["blocks.0.attn.pattern"].sum(-1), torch.ones(1, 2, T))


@pytest.mark.parametrize("activation", ["softmax", "softmax1", "sigmoid", "tanh", "none", "relu"])
def test_what_is_hidden_weighs_exactly_nothing(activation):
    attention = {"activation": activation, "window": 3}
    model = build_model(TransformerConfig(d_model=8, n_heads=2, attention=attention), V, T, seed=0)
    _, seen = watch(model, torch.tensor([[3, 1, 4, 1, 5, 9]]), ["*.pattern"])
    pattern = seen["blocks.0.attn.pattern"]
    assert (pattern.triu(1) == 0).all()
    assert (pattern.tril(-3) == 0).all()
    assert (pattern.diagonal(-2, -2, -1) != 0).any()


def test_softmax_attention_is_an_example_worked_by_hand():
    config = TransformerConfig(
        d_model=2, n_heads=1, position="none", norm="none", residual=False, mlp=None, bias=False,
        attention={"output_projection": False},
    )  # fmt: skip
    model = build_model(config, 2, 3, seed=0).double()
    attention = model.blocks[0].attention
    with torch.no_grad():
        model.embedding.weight.copy_(torch.eye(2))
        attention.query.weight.copy_(torch.eye(2) * 2**0.5 * torch.log(torch.tensor(3.0)))
        attention.key.weight.copy_(torch.eye(2))
        attention.value.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 10.0]]))
        model.unembedding.weight.copy_(torch.eye(2))
    # Equal tokens score log 3, others 0, so weights are 3 : 1. Tokens 0 1 0: at the second position
    # 1/4 and 3/4; at the third 3/7, 1/7, 3/7. Values are (1, 0) and (0, 10).
    expected = torch.tensor([[1.0, 0.0], [1 / 4, 30 / 4], [6 / 7, 10 / 7]]).double()
    torch.testing.assert_close(model(torch.tensor([[0, 1, 0]]))[0], expected)


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_no_position_sees_what_follows_it(settings):
    settings = {"d_model": 8, "n_heads": 4, "n_layers": 2} | settings
    model = build_model(TransformerConfig(**settings), V, T, seed=0)
    one = model(torch.tensor([[3, 1, 4, 1, 5, 9]]))
    other = model(torch.tensor([[3, 1, 4, 1, 0, 0]]))
    torch.testing.assert_close(one[:, :4], other[:, :4])
    assert not torch.allclose(one[:, 4:], other[:, 4:])


def test_a_shorter_input_will_do_and_a_longer_one_is_an_error():
    model = build_model(TransformerConfig(d_model=8), V, T, seed=0)
    assert model(torch.zeros(1, 3, dtype=torch.long)).shape == (1, 3, V)
    with pytest.raises(ValueError, match="reads at most 6"):
        model(torch.zeros(1, 7, dtype=torch.long))


def test_dropout_follows_the_modules_mode_outside_of_training_by_ablab():
    model = build_model(TransformerConfig(d_model=8, dropout=0.5), V, T, seed=0)
    tokens = torch.zeros(4, T, dtype=torch.long)
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))


def test_a_printed_model_is_torchs_own_tree():
    text = str(build_model(TransformerConfig(d_model=8, n_layers=2, bias=False), V, T, seed=0))
    assert text.startswith("Transformer(\n  (embedding): Embedding(11, 8)\n")
    assert "(query): Linear(in_features=8, out_features=8, bias=False)" in text
    assert "Forward" not in text


def test_a_block_cannot_lose_positions_that_are_added_to_the_embedding():
    with pytest.raises(ValueError, match="which all blocks read"):
        TransformerConfig(n_layers=2, blocks={1: {"position": "none"}})
    assert TransformerConfig(n_layers=2, position="rope", blocks={1: {"position": "none"}})


def test_a_blocks_bias_follows_its_own_activation_however_settings_are_given():
    for attention in ({"window": 3}, AttentionConfig(window=3)):
        config = TransformerConfig(
            n_layers=2, attention=attention, blocks={1: {"attention": {"activation": "sigmoid"}}}
        )
        assert config.block(1).attention.logit_bias == "-log n"
        assert config.block(1).attention.window == 3
    config = TransformerConfig(
        n_layers=2,
        attention=AttentionConfig(activation="sigmoid"),
        blocks={0: {"attention": {"activation": "softmax"}}},
    )
    assert config.block(0).attention.logit_bias == 0.0
