"""What classes declare of their methods, and which subclasses inherit it."""

import pytest
import torch
from torch import nn

from ablab.model.attention import Attention
from ablab.model.attention_activations.sigmoid import Sigmoid
from ablab.model.attention_activations.softmax import Softmax
from ablab.model.block_config import BlockConfig
from ablab.model.build import build_model
from ablab.model.positions.alibi import Alibi
from ablab.model.roles import claim, is_position_wise
from ablab.model.transformer_config import TransformerConfig


class Renamed(Softmax):
    """Softmax by another name."""


class Sharper(Softmax):
    """Softmax of other scores."""

    def scores(self, scores, hidden):
        return super().scores(2 * scores, hidden)


class Half(Sigmoid):
    """Half of a sigmoid."""

    def weigh(self, scores, length):
        return super().weigh(scores, length) / 2


class ExactlySoftmax(Softmax):
    """Softmax written out, which says that it is softmax."""

    kernel = "softmax"

    def weights(self, scores, hidden):
        powers = scores.exp()
        return powers / powers.sum(-1, keepdim=True)


@pytest.mark.parametrize(
    ("activation", "kernel"),
    [
        ("softmax", "softmax"),
        ("sigmoid", "sigmoid"),
        ("sigmoid_n", None),
        ("tests.model.test_claims:Renamed", "softmax"),
        ("tests.model.test_claims:ExactlySoftmax", "softmax"),
        ("tests.model.test_claims:Sharper", None),
        ("tests.model.test_claims:Half", None),
        ("tests.model.my_modules:HalfSoftmax", None),
        ("tests.model.my_modules:scaled", None),
    ],
)
def test_a_kernel_is_claimed_by_the_class_that_it_computes(activation, kernel):
    config = BlockConfig(d_model=8, n_heads=2, attention={"activation": activation})
    assert Attention(config, 6, causal=True).kernel == kernel


def test_another_activation_made_from_softmax_is_computed_as_it_says():
    tokens = torch.tensor([[3, 1, 4, 1, 5, 9]])
    logits = {
        name: build_model(
            TransformerConfig(
                d_model=8,
                n_heads=2,
                attention={"activation": f"tests.model.test_claims:{name}"},
            ),
            11,
            6,
            seed=0,
        )(tokens)
        for name in ("Renamed", "ExactlySoftmax", "Sharper")
    }
    torch.testing.assert_close(logits["Renamed"], logits["ExactlySoftmax"])
    assert (logits["Renamed"] - logits["Sharper"]).abs().max() > 1e-4


class Steeper(Alibi):
    """ALiBi with steeper slopes."""

    def __init__(self, n_heads, d_head):
        super().__init__(n_heads, d_head)
        self.slopes = [2 * slope for slope in self.slopes]


class Squared(Alibi):
    """Scores fall with the distance's square."""

    def score_bias(self, queries, keys):
        return super().score_bias(queries, keys).square().neg()


def test_slopes_are_claimed_for_the_bias_that_they_say():
    def claimed(cls):
        return claim(cls, "score_bias_is_slopes", "score_bias")

    assert claimed(Alibi)
    assert claimed(Steeper)
    assert claimed(Squared) is None


class Scaled(nn.Module):
    """A norm of a user's own that says that it takes single positions."""

    ablab_position_wise = True

    def __init__(self, width, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * self.weight


class Mixing(Scaled):
    """Made from one that says so, and does otherwise."""

    def forward(self, x):
        return x - x.mean(1, keepdim=True)


class OwnLinear(nn.Linear):
    """A linear layer that looks at other positions."""

    def forward(self, x):
        return super().forward(x.cumsum(1))


def test_a_claim_of_single_positions_ends_where_a_method_is_defined_anew():
    assert is_position_wise(nn.Linear(2, 2))
    assert is_position_wise(nn.LayerNorm(4))
    assert not is_position_wise(nn.LayerNorm((3, 4))), "of two axes, one of them positions"
    assert not is_position_wise(OwnLinear(2, 2))
    assert not is_position_wise(nn.Conv1d(2, 2, 1))
    assert is_position_wise(Scaled(4, True))
    assert not is_position_wise(Mixing(4, True))


@pytest.mark.parametrize(("norm", "trims"), [("Scaled", True), ("Mixing", False)])
def test_positions_are_left_out_where_all_parts_say_that_they_may_be(norm, trims):
    config = TransformerConfig(d_model=8, n_heads=2, norm=f"tests.model.test_claims:{norm}")
    model = build_model(config, 11, 6, seed=0)
    assert model.trims is trims
