"""Generation: cached equals uncached, and tokens are drawn as asked."""

from itertools import product

import pytest
import torch

from ablab.model.build import build_model
from ablab.model.forward import Cache, Forward
from ablab.model.generate import Sampling, answers, draw
from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig

POSITIONS = ["learned", "sinusoidal", "rope", "alibi", "none"]
ACTIVATIONS = [
    "softmax", "softmax1", "sigmoid", "sigmoid_n", "sigmoid_sqrt_n", "tanh", "none", "relu",
]  # fmt: skip
V = 23


def model_of(position="rope", activation="softmax", length=256, **own):
    config = TransformerConfig(
        d_model=16, n_heads=4, n_layers=2, position=position, init_std=0.5,
        attention={"activation": activation} | own,
    )  # fmt: skip
    return build_model(config, V, length, seed=0)


def prompt(samples=2):
    return torch.randint(0, V, (samples, 5), generator=torch.Generator().manual_seed(0))


def check_cached(position, activation, count):
    model = model_of(position, activation)
    cached = model.generate(prompt(), count, Sampling(seed=1))
    assert torch.equal(cached, model.generate(prompt(), count, Sampling(seed=1), cached=False))
    assert len(cached.unique()) > 5


@pytest.mark.parametrize(
    ("position", "activation"), list(zip(POSITIONS * 2, ACTIVATIONS, strict=False))
)
def test_cached_equals_uncached_to_the_token(position, activation):
    check_cached(position, activation, 40)


@pytest.mark.slow
@pytest.mark.parametrize(("position", "activation"), list(product(POSITIONS, ACTIVATIONS)))
def test_cached_equals_uncached_over_200_tokens(position, activation):
    check_cached(position, activation, 200)


@pytest.mark.parametrize(
    "own", [{"window": 6}, {"n_kv_heads": 1}, {"qk_norm": "rms", "window": 6}], ids=str
)
def test_cached_equals_uncached_with_other_settings(own):
    for position, activation in product(["rope", "alibi"], ["softmax", "sigmoid_n"]):
        model = model_of(position, activation, **own)
        cached = model.generate(prompt(), 20, Sampling(seed=1))
        assert torch.equal(cached, model.generate(prompt(), 20, Sampling(seed=1), cached=False))


def test_a_text_longer_than_the_context_goes_on_with_its_last_tokens():
    model = model_of("learned", length=16)
    written = model.generate(prompt(), 40, Sampling(temperature=0.0))
    read = torch.cat([prompt(), written], dim=1)
    model.eval()
    for place in (12, 30, 44):
        expected = model(read[:, max(0, place - 16) : place])[:, -1].argmax(-1)
        assert torch.equal(read[:, place], expected)


def test_a_cache_keeps_gradients_whole():
    model = model_of().double()
    tokens = prompt()
    cache = Cache()
    parts = []
    for place in range(5):
        parts.append(model(tokens[:, place : place + 1], Forward(cache=cache)))
        cache.length += 1
    joined = torch.cat(parts, dim=1)
    whole = model(tokens)
    torch.testing.assert_close(joined, whole)
    parameters = list(model.parameters())
    mine = torch.autograd.grad(joined.square().sum(), parameters)
    torch.testing.assert_close(mine, torch.autograd.grad(whole.square().sum(), parameters))


def test_tokens_are_drawn_from_what_is_left():
    logits = torch.tensor([[3.0, 2.0, 1.0, -1.0]]).expand(4000, -1)

    def shares(**asked):
        drawn = draw(logits, Sampling(**asked), torch.Generator().manual_seed(0))
        return torch.bincount(drawn, minlength=4).double() / 4000

    torch.testing.assert_close(shares(), logits[0].double().softmax(-1), atol=0.03, rtol=0)
    cold = (logits[0].double() / 0.5).softmax(-1)
    torch.testing.assert_close(shares(temperature=0.5), cold, atol=0.03, rtol=0)
    two = torch.tensor([3.0, 2.0]).double().softmax(-1)
    torch.testing.assert_close(shares(top_k=2)[:2], two, atol=0.03, rtol=0)
    assert shares(top_k=2)[2:].sum() == 0
    assert shares(top_p=0.7)[2:].sum() == 0, "0.64 is not enough, 0.88 is"
    assert shares(top_p=0.7)[1] > 0
    assert shares(top_p=0.6)[0] == 1
    assert shares(temperature=0.0)[0] == 1


@pytest.mark.parametrize(
    ("asked", "expected"),
    [({"temperature": -1.0}, "temperature"), ({"top_k": 0}, "top_k"), ({"top_p": 1.5}, "top_p")],
)
def test_what_cannot_be_drawn_is_said(asked, expected):
    with pytest.raises(ValueError, match=expected):
        Sampling(**asked)


def test_a_model_in_training_is_left_so_and_drawn_from_without_dropout():
    config = TransformerConfig(d_model=16, dropout=0.5)
    model = build_model(config, V, 32, seed=0)
    assert torch.equal(*(model.generate(prompt(), 9, Sampling(temperature=0.0)) for _ in "ab"))
    assert model.training


def test_answers_are_written_from_the_question_alone():
    task = Addition(AdditionConfig(n_digits=2, target="all"))
    model = build_model(TransformerConfig(d_model=16, init_std=1.0), 12, 8, seed=0)
    batch = task.held_out(8)
    tokens = torch.from_numpy(batch.tokens)
    written = answers(model, task, tokens)
    assert written.shape == (8, 3)
    logits = model(torch.cat([tokens[:, :6], written[:, :2]], dim=1))
    assert torch.equal(logits[:, 5:].argmax(-1), written)
