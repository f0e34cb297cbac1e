"""What parts are: inferred from torch's layers, declared by classes, never read off names."""

import copy

import pytest
import torch
from torch import nn

from ablab.config import InputError
from ablab.experiments import experiment
from ablab.model.build import build_model
from ablab.model.initial import draw_parameters
from ablab.model.initial_config import InitialConfig
from ablab.model.norms.rms import RMSNorm
from ablab.model.positions.learned import Learned
from ablab.model.roles import Role, parameter_roles
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
        draw_parameters(model, InitialConfig(init_std=0.5), 4, torch.Generator().manual_seed(0))
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
    draw_parameters(model, InitialConfig(init_std=0.5), 4, torch.Generator().manual_seed(0))
    after = dict(model.named_parameters())
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert (after["norm.weight"] == 2).all()
    assert "own.places" not in changed
    assert {"places.weight", "own.head.weight", "own.wte.weight"} <= changed
    assert float(after["places.weight"].detach().abs().max()) < 5
