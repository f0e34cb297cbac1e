"""Passes of many models agree with a plain loop over models with hooks of our own."""

import pytest
import torch
from torch import nn

from ablab.analysis.loaded import LoadedModels, state_of
from ablab.analysis.passes import Passes
from ablab.analysis.replacement import Replacement
from ablab.analysis.subject import Subject
from ablab.config import InputError
from ablab.model.build import build_model
from ablab.model.forward import Forward
from ablab.model.transformer_config import TransformerConfig

READ = ("blocks.0.attn.pattern", "blocks.*.mlp.post", "blocks.0.resid_mid")
NAMES = ["blocks.0.attn.pattern", "blocks.0.resid_mid", "blocks.0.mlp.post", "blocks.1.mlp.post"]


def models(number, **settings):
    config = TransformerConfig(d_model=8, n_layers=2, n_heads=2, **settings)
    return [build_model(config, 11, 5, seed).eval() for seed in range(number)]


def tokens(samples, seed=0):
    return torch.randint(11, (samples, 5), generator=torch.Generator().manual_seed(seed))


def by_hand(model, samples, change=None):
    """The logits and the tensors at NAMES; ``change`` maps a site to a function."""
    seen = {}

    def tap(name):
        def at(x):
            seen[name] = x if change is None or name not in change else change[name](x)
            return seen[name]

        return at

    names = [*NAMES, *(change or {})]
    with torch.no_grad():
        logits = model(samples, Forward({name: tap(name) for name in names}))
    return logits, seen


@pytest.mark.parametrize("samples", [3, 4000])
@pytest.mark.parametrize(
    "settings",
    [{}, {"attention": {"activation": "sigmoid"}}, {"norm": "none"}],
    ids=["softmax", "sigmoid", "no norm"],
)
def test_stacked_passes_are_those_of_each_model(samples, settings):
    many, given = models(4, **settings), tokens(samples)
    passes = Passes(many)
    for place, model in enumerate(many):
        found = passes.forward(place, given, READ)
        logits, seen = by_hand(model, given)
        torch.testing.assert_close(found.logits, logits, rtol=1e-4, atol=1e-5)
        assert list(found.sites) == NAMES
        for name in NAMES:
            torch.testing.assert_close(found.sites[name], seen[name], rtol=1e-4, atol=1e-5)


def test_a_stack_is_one_call_and_a_table_one_for_each_model(monkeypatch):
    many = models(3)
    passes = Passes(many)
    calls = []
    monkeypatch.setattr(
        type(many[0]), "forward", _counting(type(many[0]).forward, calls), raising=True
    )
    few, whole = tokens(4), tokens(5000, seed=1)
    for place in range(3):
        passes.forward(place, few, READ)
    assert len(calls) == 3  # one to list the sites, one stacked, one to compare with
    for place in range(3):
        passes.forward(place, whole, ["blocks.0.mlp.post"])
        passes.forward(place, whole, ["blocks.0.mlp.post"])
        assert len(calls) == 4 + place
    # Another site of the same pass needs another one, which then has both.
    passes.forward(0, whole, ["blocks.0.attn.pattern"])
    passes.forward(0, whole, ["blocks.0.mlp.post"])
    assert len(calls) == 7


def _counting(forward, calls):
    def counted(self, *args, **kwargs):
        calls.append(args)
        return forward(self, *args, **kwargs)

    return counted


@pytest.mark.parametrize("samples", [6, 4000])
def test_replacements(samples):
    many, given = models(2), tokens(samples)
    passes = Passes(many)
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(7))

    def zero_head(z):
        z = z.clone()
        z[:, :, 1] = 0
        return z

    def mean_neurons(x):
        x = x.clone()
        x[..., [2, 5]] = x.mean(0, keepdim=True)[..., [2, 5]]
        return x

    cases = [
        (Replacement("blocks.0.attn.z", "zero", ((2, 1),)), zero_head),
        (Replacement("blocks.1.mlp.post", "mean", ((2, (2, 5)),)), mean_neurons),
        (Replacement("blocks.0.mlp_out", "resample", seed=7), lambda x: x[order]),
        (
            Replacement("blocks.1.attn.hook_pattern", "zero", ((2, 3), (3, 0))),
            lambda x: x * (1 - nn.functional.one_hot(torch.tensor(15), 25).view(5, 5)),
        ),
    ]
    for place, model in enumerate(many):
        for change, function in cases:
            found = passes.forward(place, given, READ, [change])
            site = change.site.replace("hook_", "")
            logits, seen = by_hand(model, given, {site: function})
            torch.testing.assert_close(found.logits, logits, rtol=1e-4, atol=1e-5)
            for name in NAMES:
                torch.testing.assert_close(found.sites[name], seen[name], rtol=1e-4, atol=1e-5)
            clean = passes.forward(place, given).logits
            assert not torch.allclose(found.logits, clean)


@pytest.mark.parametrize("samples", [6, 300, 1000])  # stacked; together; one after the other
def test_passes_with_different_replacements_are_those_one_by_one(samples):
    many, given = models(2), tokens(samples)
    sets = [
        [],
        [Replacement("blocks.0.attn.z", "mean", ((2, 1),))],
        [Replacement("blocks.*.mlp_out", "resample", seed=3)],
        [Replacement("blocks.0.attn.z", "zero"), Replacement("blocks.1.mlp.post", "mean")],
    ]
    passes, alone = Passes(many), Passes(many)
    for place in range(2):
        found = list(passes.forward_each(place, given, sets, ["blocks.1.mlp.post"], first=4))
        assert len(found) == 4
        for own, changes in zip(found, sets, strict=True):
            other = alone.forward(place, given, ["blocks.1.mlp.post"], changes)
            torch.testing.assert_close(own.logits, other.logits[:, 4:], rtol=1e-4, atol=1e-5)
            site = own.sites["blocks.1.mlp.post"]
            expected = other.sites["blocks.1.mlp.post"][:, 4:]
            torch.testing.assert_close(site, expected, rtol=1e-4, atol=1e-5)


def test_few_samples_are_passed_together_for_all_replacements(monkeypatch):
    many = models(3)
    calls = []
    monkeypatch.setattr(type(many[0]), "forward", _counting(type(many[0]).forward, calls))
    passes, given = Passes(many), tokens(4)
    sets = [[Replacement("blocks.0.attn.z", "mean", ((2, head),))] for head in range(2)]
    for place in range(3):
        list(passes.forward_each(place, given, sets))
    assert len(calls) == 3  # one to list the sites, one stacked, one to compare with


@pytest.mark.parametrize("samples", [6, 4000])
@pytest.mark.parametrize("first", [3, 4])
def test_earlier_positions_can_be_left_out(samples, first):
    many, given = models(2), tokens(samples)
    passes = Passes(many)
    read = [*NAMES, "blocks.1.attn.pattern", "blocks.1.attn.v"]
    position = Replacement("blocks.1.mlp.post", "zero", ((1, 4), (2, 3)))

    def zero_neuron(x):
        x = x.clone()
        x[:, 4, 3] = 0
        return x

    for place, model in enumerate(many):
        for changes, function in [([], None), ([position], {position.site: zero_neuron})]:
            found = passes.forward(place, given, read, changes, first)
            logits, seen = by_hand(model, given, function)
            torch.testing.assert_close(found.logits, logits[:, first:], rtol=1e-4, atol=1e-5)
            last = found.sites["blocks.1.mlp.post"]
            expected = seen["blocks.1.mlp.post"][:, first:]
            torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-5)
            earlier = found.sites["blocks.0.mlp.post"]
            torch.testing.assert_close(earlier, seen["blocks.0.mlp.post"], rtol=1e-4, atol=1e-5)
            pattern = found.sites["blocks.1.attn.pattern"]  # (B, H, Q, S)
            assert pattern.shape == (samples, 2, 5 - first, 5)
            torch.testing.assert_close(pattern.sum(-1), torch.ones(samples, 2, 5 - first))
            assert found.sites["blocks.1.attn.v"].shape[1] == 5


def test_models_that_cannot_skip_positions_compute_all_of_them():
    many = models(2, position="learned", norm="none")
    for model in many:
        model.trims = False
    found = Passes(many).forward(0, tokens(3), ["blocks.1.mlp.post"], first=4)
    logits, seen = by_hand(many[0], tokens(3))
    torch.testing.assert_close(found.logits, logits[:, 4:])
    torch.testing.assert_close(found.sites["blocks.1.mlp.post"], seen["blocks.1.mlp.post"])


def test_models_that_cannot_be_stacked_are_taken_one_by_one():
    many = models(3)
    for model in many:  # control flow that depends on values, which vmap cannot map
        model.unembedding.register_forward_hook(
            lambda module, args, out: out if float(out.sum()) > -1e9 else -out
        )
    passes = Passes(many)
    for place, model in enumerate(many):
        found = passes.forward(place, tokens(3))
        torch.testing.assert_close(found.logits, by_hand(model, tokens(3))[0])


def test_a_stack_that_computes_something_else_is_not_used(monkeypatch):
    many = models(3)
    passes = Passes(many)
    true = torch.vmap

    def wrong(function):
        mapped = true(function)
        return lambda *args: [each + 1 for each in mapped(*args)]

    monkeypatch.setattr("ablab.analysis.passes.torch.vmap", wrong)
    for place, model in enumerate(many):
        found = passes.forward(place, tokens(3))
        torch.testing.assert_close(found.logits, by_hand(model, tokens(3))[0])


def test_what_does_not_fit_is_said():
    passes = Passes(models(2))
    with pytest.raises(InputError, match=r"no site 'blocks\.2"):
        passes.forward(0, tokens(2), ["blocks.2.mlp.post"])
    for at in (((2, 9),), ((5, 0),)):
        with pytest.raises(InputError, match="does not fit its site"):
            passes.forward(0, tokens(2), replace=[Replacement("blocks.0.attn.z", "zero", at)])
    with pytest.raises(InputError, match="the model has no sites"):
        Subject(nn.Linear(3, 3)).forward(tokens(2))


def test_what_is_kept_of_a_model_can_be_dropped():
    passes = Passes(models(2))
    passes.forward(0, tokens(3), READ)
    passes.forget(0)
    passes.forget(1)
    assert not passes._cache


def test_tensors_stay_those_of_the_model_that_they_were_read_from():
    states = [state_of(model) for model in models(2)]
    loaded = LoadedModels(models(1)[0], states)
    first = loaded[0].embedding.weight.detach()
    assert torch.equal(loaded[1].embedding.weight, states[1]["embedding.weight"])
    assert torch.equal(first, states[0]["embedding.weight"])
    assert not torch.equal(first, states[1]["embedding.weight"])


def test_loaded_models_are_not_sliced():
    loaded = LoadedModels(models(1)[0], [state_of(model) for model in models(2)])
    with pytest.raises(TypeError, match="one at a time"):
        loaded[:1]


def test_a_pass_without_samples_has_no_logits():
    passes = Passes(models(1))
    assert passes.forward(0, tokens(0)).logits.shape == (0, 5, 11)
