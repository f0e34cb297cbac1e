"""Optional sites: what they hold, by formulas in NumPy, and what replacing them does."""

import numpy as np
import pytest
import torch

import ablab
from ablab.config import InputError
from ablab.model.bigram_config import BigramConfig
from ablab.model.build import build_model
from ablab.model.forward import Forward
from ablab.model.interventions import all_sites, sites
from ablab.model.norms.layer import LayerNorm
from ablab.model.thinker_config import ThinkerConfig
from ablab.model.transformer_config import TransformerConfig
from tests.model.reference import TOKENS, VARIANTS, T, V, normed

IDS = torch.from_numpy(TOKENS)
WITH_ATTENTION = [each for each in VARIANTS if each.get("attention", ...) is not None]
NORMS = ["layer", "rms", "frobenius"]


def noisy_model(**settings):
    """A model in double precision, whose biases and norms are not at their neutral values."""
    config = TransformerConfig(**({"d_model": 8, "n_heads": 4} | settings))
    model = build_model(config, V, T, seed=1).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise * 0.2)
    return model.requires_grad_(False)


def seen_at(model, *names):
    """The tensors at some sites as arrays, by the part of the name after the block."""
    seen = ablab.watch(model, IDS, names)[1]
    return {name.removeprefix("blocks.0."): x.numpy() for name, x in seen.items()}


def scale_of(x, norm, eps):
    """What a norm divides by; the formulas of the docstrings of the norms."""
    if norm == "layer":
        return np.sqrt(x.var(-1, keepdims=True) + eps)
    squares = (x**2).mean(-1, keepdims=True) if norm == "rms" else (x**2).sum(-1, keepdims=True)
    return np.sqrt(squares + eps)


def test_all_sites_of_a_transformer_in_the_order_of_the_pass():
    model = build_model(TransformerConfig(d_model=8), V, T, seed=0)
    names = ["embed", "pos_embed", "resid_pre", "ln1.scale", "q_input", "k_input", "v_input"]
    names += ["attn.q", "attn.k", "attn.v", "attn.attn_scores", "attn.pattern", "attn.z"]
    names += ["attn.result", "attn_out", "resid_mid", "mlp_in", "ln2.scale", "mlp.pre", "mlp.post"]
    names += ["mlp_out", "resid_post", "ln_final.scale", "ln_final", "logits"]
    outside = ("embed", "pos_embed", "ln_final.scale", "ln_final", "logits")
    assert all_sites(model, IDS) == [
        name if name in outside else f"blocks.0.{name}" for name in names
    ]
    optional = {"ln1.scale", "ln2.scale", "attn.result", "mlp_in", "q_input", "k_input", "v_input"}
    expected = {f"blocks.0.{name}" for name in optional} | {"ln_final.scale"}
    assert set(all_sites(model, IDS)) - set(sites(model, IDS)) == expected


def test_optional_sites_are_chosen_by_patterns_that_match_nothing_else():
    model = build_model(TransformerConfig(d_model=8, n_layers=2), V, T, seed=0)

    def chosen(*patterns):
        return list(ablab.watch(model, IDS, patterns)[1])

    assert chosen("*") == sites(model, IDS)
    assert chosen("blocks.*.attn.result") == ["blocks.0.attn.result", "blocks.1.attn.result"]
    assert chosen("ln_final.hook_scale", "blocks.0.hook_[qk]_input", "embed") == [
        "embed",
        "blocks.0.q_input",
        "blocks.0.k_input",
        "ln_final.scale",
    ]
    assert len(chosen("*.scale")) == 5


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_reading_every_site_changes_nothing(settings):
    model = noisy_model(**settings)
    logits, seen = ablab.watch(model, IDS, all_sites(model, IDS))
    torch.testing.assert_close(logits, model(IDS), rtol=1e-10, atol=1e-10)
    assert list(seen) == all_sites(model, IDS)


@pytest.mark.parametrize("settings", WITH_ATTENTION, ids=str)
def test_the_results_of_heads_are_what_they_add_to_the_output(settings):
    model = noisy_model(**settings)
    block = model.config.block(0)
    seen = seen_at(model, "blocks.0.attn.z", "blocks.0.attn.result", "blocks.0.attn_out")
    named = {name: p.numpy() for name, p in model.blocks[0].named_parameters()}
    heads, width = block.n_heads, block.d_head
    z = seen["attn.z"].reshape(2, T, heads * width)
    own = block.attention
    parameters = [named.get(f"attention.post_norm.{name}") for name in ("weight", "bias")]
    z = normed(z, own.post_norm, *parameters, block.norm_eps)
    matrix = named.get("attention.projection.weight", np.eye(heads * width))  # (D, H K)
    for head in range(heads):
        mine = slice(head * width, (head + 1) * width)
        expected = z[..., mine] @ matrix[:, mine].T
        np.testing.assert_allclose(seen["attn.result"][:, :, head], expected, atol=1e-10)
    total = seen["attn.result"].sum(2) + named.get("attention.projection.bias", 0)
    out = total * named.get("scale1.weight", 1)
    np.testing.assert_allclose(seen["attn_out"], out, atol=1e-10)


def test_replacing_the_result_of_a_head_takes_it_from_the_output():
    model = noisy_model(attention={"activation": "sigmoid", "n_kv_heads": 2})
    seen = seen_at(model, "blocks.0.attn.result", "blocks.0.attn_out")

    def without_head_2(result):
        result[:, :, 2] = 0  # in place, which must not change what others read
        return result

    kept = {}
    ablab.replace(
        model,
        IDS,
        {
            "blocks.0.attn.hook_result": without_head_2,
            "blocks.0.attn_out": lambda x: kept.setdefault("attn_out", x),
        },
    )
    expected = seen["attn_out"] - seen["attn.result"][:, :, 2]
    np.testing.assert_allclose(kept["attn_out"].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("place", ["pre", "post"])
@pytest.mark.parametrize("norm", NORMS)
def test_scales_are_what_norms_divide_by(norm, place):
    final = {"output_norm": {"kind": norm}} if place == "post" else {}
    model = noisy_model(norm=norm, norm_eps=0.3, norm_place=place, **final)
    names = ["ln1.scale", "ln2.scale", "resid_pre", "attn_out", "resid_mid", "mlp_out"]
    seen = seen_at(
        model, *(f"blocks.0.{n}" for n in names), "blocks.0.resid_post", "ln_final.scale"
    )
    first, second = seen["resid_pre"], seen["resid_mid"]
    if place == "post":
        first, second = first + seen["attn_out"], second + seen["mlp_out"]
    for site, x in (("ln1", first), ("ln2", second), ("ln_final", seen["resid_post"])):
        assert seen[f"{site}.scale"].shape == (2, T, 1)
        np.testing.assert_allclose(seen[f"{site}.scale"], scale_of(x, norm, 0.3), atol=1e-10)


@pytest.mark.parametrize("norm", NORMS)
def test_a_replaced_scale_is_divided_by(norm):
    model = noisy_model(norm=norm, norm_eps=0.3)
    double = ablab.replace(model, IDS, {"ln_final.scale": lambda scale: 2 * scale})
    x = seen_at(model, "blocks.0.resid_post")["resid_post"]
    y = (x - x.mean(-1, keepdims=True) if norm == "layer" else x) / (2 * scale_of(x, norm, 0.3))
    named = {name: p.numpy() for name, p in model.named_parameters()}
    y = y * named.get("norm.weight", 1) + named.get("norm.bias", 0)
    expected = y @ named["unembedding.weight"].T + named["unembedding.bias"]
    np.testing.assert_allclose(double.numpy(), expected, atol=1e-10)


def test_scales_that_are_frozen_make_the_final_norm_linear():
    model = noisy_model(norm="rms", bias=False)
    frozen = ablab.watch(model, IDS, ["ln_final.scale"])[1]["ln_final.scale"]

    def logits(factor):
        changes = {"blocks.0.resid_post": lambda x: factor * x, "ln_final.scale": lambda _: frozen}
        return ablab.replace(model, IDS, changes)

    torch.testing.assert_close(logits(3.0), 3.0 * logits(1.0))


@pytest.mark.parametrize("place", ["pre", "post"])
def test_a_replaced_input_of_the_mlp_leaves_the_residual_stream(place):
    settings = {"norm": "none", "mlp": {"activation": "relu"}, "norm_place": place}
    model = noisy_model(**settings)
    before = ablab.watch(model, IDS, ["blocks.0.resid_mid", "blocks.0.mlp_in"])[1]
    torch.testing.assert_close(before["blocks.0.mlp_in"], before["blocks.0.resid_mid"])
    seen = {}
    ablab.replace(
        model,
        IDS,
        {
            "blocks.0.hook_mlp_in": lambda x: x.zero_(),
            "blocks.0.resid_mid": lambda x: seen.setdefault("resid_mid", x),
            "blocks.0.resid_post": lambda x: seen.setdefault("resid_post", x),
        },
    )
    mlp = model.blocks[0].mlp
    out = mlp.projection.weight.numpy() @ np.maximum(mlp.linear.bias.numpy(), 0)
    out = out + mlp.projection.bias.numpy()
    torch.testing.assert_close(seen["resid_mid"], before["blocks.0.resid_mid"])
    expected = before["blocks.0.resid_mid"].numpy() + out
    np.testing.assert_allclose(seen["resid_post"].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("place", ["pre", "post"])
@pytest.mark.parametrize(("part", "heads"), [("q", 4), ("k", 2), ("v", 2)])
def test_an_input_of_one_head_reaches_only_that_head(part, heads, place):
    model = noisy_model(attention={"n_kv_heads": 2}, norm_place=place)
    site, other = f"blocks.0.{part}_input", np.linspace(-1, 2, 8)
    before = ablab.watch(model, IDS, ["blocks.0.attn.[qkv]"])[1]
    assert ablab.watch(model, IDS, [site])[1][site].shape == (2, T, heads, 8)
    after = {}

    def replaced(x):
        x[:, :, 1] = torch.from_numpy(other)
        return x

    def keep(name):
        return lambda x: after.setdefault(name, x)

    changes = {site: replaced} | {name: keep(name) for name in before}
    ablab.replace(model, IDS, changes)
    layer = {"q": "query", "k": "key", "v": "value"}[part]
    named = {name: p.numpy() for name, p in model.blocks[0].named_parameters()}
    x = other
    if place == "pre":
        x = normed(x, "layer", named["norm1.weight"], named["norm1.bias"])
    rows = slice(2, 4)  # the entries of head 1, of width 2
    expected = named[f"attention.{layer}.weight"][rows] @ x + named[f"attention.{layer}.bias"][rows]
    changed = before[f"blocks.0.attn.{part}"].clone()
    changed[:, :, 1] = torch.from_numpy(expected)
    for name, x in before.items():
        torch.testing.assert_close(after[name], changed if name.endswith(part) else x)


def test_gradients_at_the_inputs_add_up_to_that_of_the_residual_stream():
    model = noisy_model(residual=False, attention={"n_kv_heads": 2}).requires_grad_()
    inputs = [f"blocks.0.{part}_input" for part in "qkv"]
    found = ablab.gradients(
        model, IDS, lambda x: x.logsumexp(-1).mean(), [*inputs, "blocks.0.resid_pre"]
    )[1]
    total = sum(found[name].sum(2) for name in inputs)
    torch.testing.assert_close(total, found["blocks.0.resid_pre"])
    assert all(found[name].abs().max() > 1e-5 for name in inputs)


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"norm": "none"}, "blocks.0.ln2.scale"),
        ({"attention": None}, "blocks.0.attn.result"),
        ({"mlp": None}, "blocks.0.mlp_in"),
        ({"norm_place": "post"}, "ln_final.scale"),
    ],
)
def test_a_part_that_is_left_out_has_no_sites(settings, missing):
    with pytest.raises(InputError, match=f"the model has no site '{missing}'"):
        ablab.watch(noisy_model(**settings), IDS, ["embed", missing])


@pytest.mark.parametrize(
    ("settings", "missing", "suggested"),
    [
        ({}, "ln_finals.scale", "ln_final.scale"),
        ({}, "blocks.0.attn.q_input", "blocks.0.q_input"),
        ({}, "blocks.0.attn.results", "blocks.0.attn.result"),
        ({"attention": None}, "blocks.0.ln1.scale", "blocks.0.ln2.scale"),
        ({"norm": "none", "output_norm": "none"}, "ln_final.scale", "ln_final"),
    ],
)
def test_a_site_that_does_not_exist_is_an_error_with_the_nearest(settings, missing, suggested):
    for call in (ablab.watch, ablab.replace):
        asked = [missing] if call is ablab.watch else {missing: torch.zeros_like}
        with pytest.raises(InputError) as caught:
            call(noisy_model(**settings), IDS, asked)
        assert caught.value.problems[0].suggestion == suggested


def test_a_bigram_has_no_optional_sites():
    assert all_sites(build_model(BigramConfig(), V, T, seed=0), IDS) == ["logits"]


class Centered(LayerNorm):
    """A user's norm that inherits ``scale`` but computes something else."""

    def forward(self, x):
        return x - x.mean(-1, keepdim=True)


def test_a_norm_that_overrides_its_forward_has_no_scale():
    kind = f"{__name__}:Centered"
    model = build_model(TransformerConfig(d_model=8, norm=kind), V, T, seed=0)
    assert not [name for name in all_sites(model, IDS) if name.endswith("scale")]


def test_the_thinkers_blocks_have_the_same_sites():
    config = ThinkerConfig(d_model=8, n_heads=2, n_latents=3, n_thoughts=2)
    model = build_model(config, V, T, seed=0, source_length=5).eval()
    names = all_sites(model, IDS)
    logits, seen = ablab.watch(model, IDS, names)
    torch.testing.assert_close(logits, model(IDS))
    key = model.read.attention.key  # the question has its own norm, before the block
    k = (seen["read.k_input"][:, :, 1] @ key.weight.T + key.bias).unflatten(-1, (2, 4))
    torch.testing.assert_close(seen["read.attn.k"][:, :, 1], k[:, :, 1])
    assert seen["read.q_input"].shape == (2, 3, 2, 8)  # latents read the question
    assert seen["read.k_input"].shape == (2, 5, 2, 8)
    assert seen["thoughts.1.attn.result"].shape == (2, 3, 2, 8)
    assert seen["write.ln1.scale"].shape == (2, T, 1)
    assert seen["ln_final.scale"].shape == (2, T, 1)


@pytest.mark.parametrize("place", ["pre", "post"])
def test_sites_that_cover_late_positions_only(place):
    model = noisy_model(n_layers=2, norm_place=place, output_norm="rms", mlp={"gated": True})
    first, tensors = 4, {}

    def keep(name):
        return lambda x: tensors.setdefault(name, x)

    taps = {name: keep(name) for name in all_sites(model, IDS)}
    late = model(IDS, Forward(taps=taps, first=first))
    torch.testing.assert_close(late, model(IDS)[:, first:])
    for name, x in tensors.items():
        axis = 2 if name.endswith(("attn_scores", "pattern")) else 1
        assert x.shape[axis] == (T - first if model.trims_site(name) else T), name


def test_what_is_not_tapped_is_not_computed(monkeypatch):
    model = noisy_model()

    def fails(*_):
        raise AssertionError("computed without a tap")

    monkeypatch.setattr(LayerNorm, "scale", fails)
    monkeypatch.setattr(torch, "einsum", fails)
    ablab.watch(model, IDS, ["*"])
    with pytest.raises(AssertionError, match="without a tap"):
        ablab.watch(model, IDS, ["blocks.0.attn.result"])
