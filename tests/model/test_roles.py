"""What parts are: inferred from torch's layers, declared by classes, never read off names."""

import copy

import pytest
import torch
from torch import nn

from ablab.config import InputError
from ablab.experiments import experiment
from ablab.model.attention import Attention
from ablab.model.attention_activations.sigmoid import Sigmoid
from ablab.model.attention_activations.softmax import Softmax
from ablab.model.block_config import BlockConfig
from ablab.model.build import build_model
from ablab.model.initial import draw_parameters
from ablab.model.norms.rms import RMSNorm
from ablab.model.positions.alibi import Alibi
from ablab.model.positions.learned import Learned
from ablab.model.roles import Role, claim, is_position_wise, parameter_roles
from ablab.model.thinker_config import ThinkerConfig
from ablab.model.transformer_config import TransformerConfig


class Own(nn.Module):
    """A small model whose names say nothing of what its parameters are."""

    def __init__(self, tied=False):
        super().__init__()
        self.head = nn.Linear(4, 7)
        self.wte = nn.Embedding(7, 4)
        self.places = nn.Parameter(torch.randn(5, 4))
        self.ln = nn.LayerNorm(4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4, bias=False) for _ in range(2)])
        self.gain = nn.Parameter(torch.ones(4))
        self.convolution = nn.Conv1d(4, 4, 3, bias=False)
        if tied:
            self.head.weight = self.wte.weight


def of(module, **roles):
    """The module, of a class of its own that declares the roles."""
    module.__class__ = type("Declared", (type(module),), {"ablab_roles": roles})
    return module


def test_roles_come_from_torchs_layers_whatever_they_are_called():
    assert parameter_roles(Own()) == {
        "places": Role.MATRIX,
        "gain": Role.VECTOR,
        "head.weight": Role.MATRIX,
        "head.bias": Role.BIAS,
        "wte.weight": Role.EMBEDDING,
        "ln.weight": Role.NORM,
        "ln.bias": Role.BIAS,
        "blocks.0.weight": Role.MATRIX,
        "blocks.1.weight": Role.MATRIX,
        "convolution.weight": Role.MATRIX,
    }


def test_a_module_declares_roles_by_names_and_patterns():
    declared = {
        "places": "embedding",
        "head.weight": Role.UNEMBEDDING,
        "blocks.*.weight": "residual_output",
        "gain": "norm",
    }
    roles = parameter_roles(of(Own(), **declared))
    assert roles["places"] is Role.EMBEDDING
    assert roles["head.weight"] is Role.UNEMBEDDING
    assert roles["blocks.0.weight"] is roles["blocks.1.weight"] is Role.RESIDUAL_OUTPUT
    assert roles["gain"] is Role.NORM
    assert roles["wte.weight"] is Role.EMBEDDING


def test_what_an_outer_module_declares_holds():
    inner = of(Own(), places="embedding", gain="norm")
    outer = nn.Sequential(inner)
    assert parameter_roles(outer)["0.places"] is Role.EMBEDDING
    outer.ablab_roles = {"0.places": "matrix"}
    roles = parameter_roles(outer)
    assert roles["0.places"] is Role.MATRIX
    assert roles["0.gain"] is Role.NORM


def test_a_subclass_adds_to_what_its_base_declares():
    base = of(Own(), places="embedding")
    roles = parameter_roles(of(base, gain="norm"))
    assert (roles["places"], roles["gain"]) == (Role.EMBEDDING, Role.NORM)


def test_a_table_tied_to_an_output_layer_is_an_embedding():
    model = Own(tied=True)
    assert "wte.weight" not in dict(model.named_parameters())
    assert parameter_roles(model)["head.weight"] is Role.EMBEDDING
    assert parameter_roles(of(model, **{"wte.weight": "matrix"}))["head.weight"] is Role.MATRIX


@pytest.mark.parametrize(
    ("roles", "message", "suggestion"),
    [
        ({"places": "embeding"}, "places has an unknown role", "embedding"),
        ({"places": None}, "places has an unknown role", None),
        ({"place": "embedding"}, "it has no parameter 'place'", "places"),
        ({"blocks.*.wieght": "matrix"}, r"it has no parameter 'blocks\.", "blocks.1.weight"),
    ],
)
def test_a_typo_is_told_with_the_nearest_name(roles, message, suggestion):
    with pytest.raises(InputError, match=message) as caught:
        parameter_roles(of(Own(), **roles))
    assert caught.value.problems[0].suggestion == suggestion


def test_roles_have_to_be_a_mapping():
    model = Own()
    model.ablab_roles = ["places"]
    with pytest.raises(InputError, match="not a mapping"):
        parameter_roles(model)


def test_a_typo_in_a_users_module_is_found_as_the_model_is_made():
    asked = experiment(
        {
            "name": "own",
            "task": {"kind": "addition", "n_digits": 2},
            "model": {"kind": "tests.model.my_modules:Misdeclared"},
        }
    )
    with pytest.raises(InputError, match="did you mean embedding"):
        asked.variants[0].model(0)


def test_ablabs_own_models_declare_all_that_is_no_plain_layer():
    transformer = build_model(TransformerConfig(d_model=8, n_heads=2), 11, 6, seed=0)
    roles = parameter_roles(transformer)
    found = {role: [name for name in roles if roles[name] is role] for role in Role}
    assert found[Role.EMBEDDING] == ["embedding.weight", "positional_embedding.weight"]
    assert found[Role.UNEMBEDDING] == ["unembedding.weight"]
    assert found[Role.RESIDUAL_OUTPUT] == [
        "blocks.0.attention.projection.weight", "blocks.0.mlp.projection.weight",
    ]  # fmt: skip
    assert not found[Role.VECTOR]
    thinker = build_model(ThinkerConfig(d_model=8, n_heads=2), 11, 6, seed=0, source_length=4)
    roles = parameter_roles(thinker)
    tables = [name for name in roles if roles[name] is Role.EMBEDDING]
    assert tables == [
        "memory_embedding", "answer_embedding", "embedding.weight", "positional_embedding.weight",
    ]  # fmt: skip


def test_a_part_without_its_output_projection_declares_it_all_the_same():
    config = TransformerConfig(
        d_model=8, n_heads=2, attention={"output_projection": False},
        mlp={"output_projection": False},
    )  # fmt: skip
    assert Role.RESIDUAL_OUTPUT not in parameter_roles(build_model(config, 11, 6, seed=0)).values()


class Residual(nn.Module):
    """Matrices of equal shape, of which one writes to the residual stream, called anything."""

    def __init__(self):
        super().__init__()
        self.mixed = nn.Linear(64, 64)
        self.lower_projection = nn.Linear(64, 64)
        self.out = nn.Linear(64, 64)
        self.table = nn.Parameter(torch.full((8, 64), 5.0))
        self.norm = RMSNorm(64, bias=True)


def test_a_matrix_starts_by_its_role_not_by_its_name():
    model = of(Residual(), **{"out.weight": "residual_output", "table": "embedding"})
    with torch.no_grad():
        model.norm.weight.fill_(3.0)
        draw_parameters(model, 0.5, 4, torch.Generator().manual_seed(0))
    stds = {name: float(value.detach().std()) for name, value in model.named_parameters()}
    assert stds["out.weight"] == pytest.approx(0.25, rel=0.05)
    assert stds["mixed.weight"] == pytest.approx(0.5, rel=0.05)
    assert stds["lower_projection.weight"] == pytest.approx(0.5, rel=0.05)
    assert stds["table"] == pytest.approx(0.5, rel=0.1)
    assert not model.mixed.bias.any()
    assert (model.norm.weight == 1).all(), "ablab's norm starts anew"


class MyNorm(RMSNorm):
    """Starts at two."""

    def __init__(self, width, bias):
        super().__init__(width, bias)
        nn.init.constant_(self.weight, 2.0)


class MyPlaces(Learned):
    """Learned positions, as they are."""


def test_a_part_that_draws_its_own_keeps_it():
    model = nn.ModuleDict({"norm": MyNorm(4, bias=True), "places": MyPlaces(5, 4), "own": Own()})
    before = copy.deepcopy(dict(model.named_parameters()))
    draw_parameters(model, 0.5, 4, torch.Generator().manual_seed(0))
    after = dict(model.named_parameters())
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert (after["norm.weight"] == 2).all()
    assert "own.places" not in changed
    assert {"places.weight", "own.head.weight", "own.wte.weight"} <= changed
    assert float(after["places.weight"].detach().abs().max()) < 5


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
        ("tests.model.test_roles:Renamed", "softmax"),
        ("tests.model.test_roles:ExactlySoftmax", "softmax"),
        ("tests.model.test_roles:Sharper", None),
        ("tests.model.test_roles:Half", None),
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
                attention={"activation": f"tests.model.test_roles:{name}"},
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
    config = TransformerConfig(d_model=8, n_heads=2, norm=f"tests.model.test_roles:{norm}")
    model = build_model(config, 11, 6, seed=0)
    assert model.trims is trims
