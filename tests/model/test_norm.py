import pytest
import torch
from torch import nn

from ablab.config import InputError
from ablab.model.norm import check_norms, create_norm
from ablab.model.thinker_config import ThinkerConfig
from ablab.model.transformer import Transformer
from ablab.model.transformer_config import TransformerConfig

MEANS = "tests.model.test_norm:Means"


class WithoutEps(nn.Module):
    """A user's norm that takes a width and a bias."""

    def __init__(self, width, bias):
        super().__init__()


def test_norms_are_those_of_torch_with_their_eps():
    x = torch.randn(5, 8, generator=torch.Generator().manual_seed(0)) * 0.1
    layer = nn.LayerNorm(8, eps=0.3)
    torch.testing.assert_close(create_norm("layer", 8, True, 0.3)(x), layer(x))
    torch.testing.assert_close(create_norm("rms", 8, True, 0.3)(x), nn.RMSNorm(8, eps=0.3)(x))
    expected = x / (x.norm(dim=-1, keepdim=True) ** 2 + 0.3).sqrt()
    torch.testing.assert_close(create_norm("frobenius", 8, True, 0.3)(x), expected)
    assert torch.equal(create_norm("none", 8, True, 0.3)(x), x)
    assert not torch.allclose(create_norm("layer", 8, True, None)(x), layer(x))


def test_a_users_norm_without_eps_gives_an_error():
    path = "tests.model.test_norm:WithoutEps"
    assert isinstance(create_norm(path, 8, True, None), WithoutEps)
    with pytest.raises(InputError, match="does not take eps"):
        create_norm(path, 8, True, 0.3)


@pytest.mark.parametrize(
    "settings",
    [
        {"norm_eps": 1e-5},
        {"norm_bias": True},
        {"norm_eps": 1e-5, "blocks": {0: {"norm_bias": True}}},
        {"output_norm": "layer"},
        {"output_norm": {"bias": True}},
        {"attention": {"temperature_of": "scores"}, "position": "alibi"},
        {"attention": {"temperature": 2.0, "temperature_of": "scores"}},
        {"mlp": {"norm_place": "before"}},
        {"init_depth_scaling": True, "init_distribution": "normal", "init_truncation": None},
    ],
    ids=str,
)
def test_what_changes_nothing_is_not_in_the_id(settings):
    other = {key: settings[key] for key in ("position",) if key in settings}
    if "temperature" in settings.get("attention", {}):
        other["attention"] = {"temperature": 2.0}
    plain = TransformerConfig(n_layers=2, **other).identity()
    assert TransformerConfig(n_layers=2, **settings).identity() == plain


def test_what_changes_something_is_in_the_id():
    found = [
        TransformerConfig(position="alibi", **settings).identity()
        for settings in (
            {},
            {"norm_eps": 1e-6},
            {"norm_eps": 1e-5, "norm": "frobenius"},
            {"norm": "frobenius"},
            {"norm_bias": False},
            {"output_norm": "rms"},
            {"output_norm": {"eps": 1e-6}},
            {"norm_place": "post"},
            {"norm_place": "post", "output_norm": "layer"},
            {"attention": {"temperature": 2.0}},
            {"attention": {"temperature": 2.0, "temperature_of": "scores"}},
            {"mlp": {"norm": "rms"}},
            {"mlp": {"norm": "rms", "norm_place": "before"}},
            {"init_depth_scaling": False},
            {"init_distribution": "uniform"},
            {"init_truncation": 3.0},
        )
    ]
    assert all(a != b for n, a in enumerate(found) for b in found[:n])
    assert ThinkerConfig(init_truncation=3.0).identity() != ThinkerConfig().identity()


def test_settings_of_an_output_norm_that_does_not_exist_are_errors():
    with pytest.raises(ValueError, match="need a norm before the logits"):
        TransformerConfig(norm_place="post", output_norm={"eps": 1e-6})
    with pytest.raises(ValueError, match="need a norm before the logits"):
        TransformerConfig(output_norm={"kind": "none", "bias": False})


class Means(nn.Module):
    """A user's norm that gives another shape."""

    def __init__(self, width, bias):
        super().__init__()

    def forward(self, x):
        return x.mean(-1, keepdim=True).expand(*x.shape[:-1], 2)


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("model.norm", {"norm": MEANS}),
        ("model.output_norm.kind", {"output_norm": MEANS}),
        ("model.attention.qk_norm", {"attention": {"qk_norm": MEANS}}),
        ("model.attention.post_norm", {"attention": {"post_norm": MEANS}}),
        ("model.mlp.norm", {"mlp": {"norm": MEANS}}),
        ("model.mlp.norm", {"mlp": {"norm": MEANS, "norm_place": "before"}}),
    ],
)
def test_a_norm_of_another_shape_is_an_error_of_its_setting(key, settings):
    model = Transformer(TransformerConfig(d_model=12, n_heads=2, **settings), 5, 3)
    with pytest.raises(InputError, match="expected the same shape") as caught:
        model(torch.zeros(1, 3, dtype=torch.long))
    (problem,) = caught.value.problems
    assert (problem.key, problem.given) == (key, MEANS)


def test_what_is_no_norm_is_an_error_of_its_setting():
    config = TransformerConfig(attention={"qk_norm": "torch.nn:ELU"})
    model = Transformer(config, 5, 3)
    with pytest.raises(InputError, match=r"^model\.attention\.qk_norm: torch\.nn:ELU") as caught:
        check_norms(model)
    assert caught.value.problems[0].key == "model.attention.qk_norm"


@pytest.mark.parametrize("name", ["LayerNorm", "RMSNorm"])
def test_torchs_norms_do_not_get_the_bias_as_eps(name):
    norm = create_norm(f"torch.nn:{name}", 8, True, None)  # a stored model is loaded
    with pytest.raises(InputError, match="would get the bias as eps"):
        check_norms(nn.Sequential(norm))


def test_an_output_norm_of_another_epsilon_is_another_model():
    """1e-5 is the default of layer norm, and not of the Frobenius norm before the logits."""
    models = [
        TransformerConfig(norm="layer", output_norm={"kind": "frobenius"}, **eps)
        for eps in ({"norm_eps": 1e-5}, {}, {"norm_eps": 1e-12})
    ]
    assert models[0].resolved_output_norm[2] == 1e-5 and models[1].resolved_output_norm[2] is None
    assert models[0].identity() != models[1].identity()
    plain = TransformerConfig(norm="layer").identity()
    assert TransformerConfig(norm="layer", norm_eps=1e-5).identity() == plain
