"""Positions: planted embeddings, what heads see, and exchanged operands."""

import numpy as np
import pytest
import torch

import ablab
from ablab.analysis.methods.swapping import swap_change
from ablab.model.bigram_config import BigramConfig
from ablab.model.build import build_model
from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.modular import Modular
from ablab.tasks.modular_config import ModularConfig
from tests.analysis.planted.digits import digit_adder
from tests.analysis.planted.modular import modular_adder, pairs
from tests.analysis.planted.positions import positions
from tests.analysis.planted.settings import SETTINGS, setting_id
from tests.analysis.planted.tasks import Previous, PreviousConfig
from tests.analysis.readers import row, rows, scalars

EVERY = pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)


def compared(model, task, **settings):
    samples = settings.pop("samples_of_probe", None)
    return ablab.analyze(model, "positions", task=task, samples=samples, settings=settings)


@pytest.mark.parametrize("kind", ["equal", "random"])
@EVERY
def test_planted_embeddings(settings, kind):
    planted = positions(kind, **settings)
    found = compared(planted.adder.model, Modular(planted.adder.task))
    spread = np.sqrt(np.mean(planted.distances[np.triu_indices(3, 1)] ** 2))
    norms = settings["scale"] * np.linalg.norm(planted.components, axis=-1)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        own = row(found, "pairs", of="embedding", first=first, second=second)
        distance = planted.distances[first, second]
        assert own["cosine"] == pytest.approx(planted.cosines[first, second], abs=1e-6)
        expected = distance**2 / (norms[first] * norms[second])
        assert own["relative_distance"] == pytest.approx(expected, abs=1e-6)
        assert own["distance_to_spread"] == pytest.approx(distance / spread, abs=1e-4)
        assert own["p"] == pytest.approx(own["p_normal"], abs=0.06)  # two nulls, nearly the same
    numbers = scalars(found)
    assert numbers["cosine_operands"] == pytest.approx(planted.cosines[0, 1], abs=1e-6)
    assert [r["first_role"] + r["second_role"] for r in rows(found, "pairs", of="embedding")] == [
        "ab", "a=", "b=",
    ]  # fmt: skip
    if kind == "equal":
        assert numbers["cosine_operands_p"] == 0.001
        assert row(found, "pairs", of="embedding", first=0, second=1)["p_corrected"] == 0.001
        assert numbers["relative_distance_operands"] == pytest.approx(0, abs=1e-9)
        assert row(found, "pairs", of="embedding", first=0, second=1)["p_normal"] < 1e-9
    inputs = row(found, "pairs", of="input", first=0, second=1)
    assert (inputs["distance_to_spread"] < 1e-3) == (kind == "equal")
    # Nothing reads where the embeddings differ.
    assert numbers["values_distance_operands"] < 1e-3
    assert numbers["swap_change_neurons"] < 1e-3 and numbers["swap_change_logits"] < 1e-3


def test_random_embeddings_are_seldom_alike():
    small, any_pair, p_normal = 0, 0, []
    for seed in range(12):
        planted = positions("random", seed=seed)
        found = compared(planted.adder.model, Modular(planted.adder.task), permutations=199)
        own = rows(found, "pairs", of="embedding")
        small += sum(each["p"] <= 0.05 for each in own)
        any_pair += min(each["p_corrected"] for each in own) <= 0.05
        assert all(each["p_corrected"] >= each["p"] for each in own)
        p_normal += [each["p_normal"] for each in own]
    assert any_pair <= 3
    assert small <= 6  # 5% of 36 is 1.8, with a standard deviation of 1.3
    assert 0.25 < np.mean(p_normal) < 0.75


def test_the_beta_distribution_by_hand():
    """In three dimensions, the cosine is uniform from -1 to 1."""
    task = Modular(ModularConfig(p=5))
    model = build_model(TransformerConfig(d_model=3, n_heads=1), 6, 3, seed=0).eval()
    weight = model.positional_embedding.weight
    with torch.no_grad():
        weight.copy_(torch.tensor([[3.0, 0, 0], [4, 3, 0], [0, 0, 2]]))
    found = compared(model, task)
    own = row(found, "pairs", of="embedding", first=0, second=1)
    assert own["cosine"] == pytest.approx(0.8)
    assert own["p_normal"] == pytest.approx(0.1)  # (1 - 0.8) / 2
    assert own["relative_distance"] == pytest.approx((1 + 9) / (3 * 5))
    # Of six permutations of (4, 3, 0), two have 4 first.
    assert own["p"] == pytest.approx(1 / 3, abs=0.05)
    assert row(found, "pairs", of="embedding", first=0, second=2)["cosine"] == 0


@pytest.mark.parametrize("removed", ["ones", "mean"])
def test_a_constant_part_is_removed(removed):
    task = Addition(AdditionConfig(n_digits=2))
    model = build_model(TransformerConfig(d_model=8, n_heads=1), 12, 6, seed=0).eval()
    weight = model.positional_embedding.weight
    with torch.no_grad():
        weight.add_(3.0 if removed == "ones" else torch.arange(8.0))
    plain, found = (compared(model, task, removed=own) for own in ("nothing", removed))
    assert scalars(plain)["cosine_operands"] > 0.95
    values = weight.detach().double().numpy()
    values = values - values.mean(-1 if removed == "ones" else 0, keepdims=True)
    expected = np.corrcoef(values) if removed == "ones" else None
    for own in rows(found, "pairs", of="embedding"):
        x, y = values[own["first"]], values[own["second"]]
        cosine = x @ y / np.sqrt((x @ x) * (y @ y))
        assert own["cosine"] == pytest.approx(cosine, abs=1e-6)
        if expected is not None:
            assert cosine == pytest.approx(expected[own["first"], own["second"]])
    assert scalars(found)["cosine_operands"] < 0.9
    assert found.arrays["cosines"][None, None].shape == (6, 6)


def test_what_heads_see_at_two_positions():
    task = Modular(ModularConfig(p=7))
    model = build_model(TransformerConfig(d_model=8, n_heads=2), 8, 3, seed=2).eval()
    with torch.no_grad():
        model.embedding.weight.mul_(20)
        model.positional_embedding.weight.mul_(10)
    found = compared(model, task)
    embedding, place = (
        each.detach().double().numpy()
        for each in (model.embedding.weight[:7], model.positional_embedding.weight)
    )
    first, second = embedding + place[0], embedding + place[1]
    with torch.no_grad():
        normed = [model.blocks[0].norm1(torch.from_numpy(x).float()) for x in (first, second)]
        keys = [model.blocks[0].attention.key(x).double().numpy() for x in normed]
    for of, (x, y) in {
        "input": (first, second),
        "normed": [each.double().numpy() for each in normed],
        "keys": keys,
    }.items():
        own = row(found, "pairs", of=of, first=0, second=1)
        cosines = (x * y).sum(-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(y, axis=-1)
        assert own["cosine"] == pytest.approx(cosines.mean(), abs=1e-5)
        other = [((x[i] - y[j]) ** 2).sum() for i in range(7) for j in range(7) if i != j]
        ratio = np.sqrt(((x - y) ** 2).sum(-1).mean() / np.mean(other))
        assert own["distance_to_spread"] == pytest.approx(ratio, rel=1e-4)
        assert own["p"] <= 0.01 and own["p_normal"] is None
    # "=" stands at one position only.
    assert {(e["first"], e["second"]) for e in rows(found, "pairs", of="keys")} == {(0, 1)}


@EVERY
def test_exchanged_operands_of_the_modular_adder_change_nothing(settings):
    planted = modular_adder(29, **settings)
    found = compared(planted.model, Modular(planted.task))
    numbers = scalars(found)
    assert numbers["cosine_operands"] is None
    assert "embedding" not in found.tables["pairs"]["of"].to_list()
    assert numbers["swap_change_neurons"] < 1e-3 and numbers["swap_change_logits"] < 1e-3
    table = found.tables["neurons"]
    assert (table["spread"][np.flatnonzero(planted.trigonometric)] > 0.1).all()
    dead = table[np.flatnonzero(planted.dead)]
    assert dead["relative"].null_count() == dead.height
    alive = table.filter(table["relative"].is_not_null())
    assert (alive["p_corrected"] <= 0.02).all()


def test_an_untrained_model_is_not_symmetric():
    model = build_model(TransformerConfig(d_model=16, n_heads=2), 30, 3, seed=0).eval()
    numbers = scalars(compared(model, Modular(ModularConfig(p=29))))
    assert numbers["cosine_operands_p"] > 0.05
    assert numbers["values_distance_operands"] > 0.5
    assert 0.3 < numbers["swap_change_neurons"] < 1 and 0.3 < numbers["swap_change_logits"] < 1


def test_a_neuron_of_one_operand_changes_as_by_any_other_sample():
    """Functions of a, of a + b and of a - b, on the table of p = 7."""
    a, b = (column.astype(float) for column in pairs(7)[:, :2].T)
    values = np.stack([a, a + b, a - b, a * 0 + 3], axis=-1)[:, :, None]
    swapped = np.stack([b, a + b, b - a, a * 0 + 3], axis=-1)[:, :, None]
    classes = ((a + b) % 7).astype(int)
    different = a != b
    found = swap_change(
        values[different], swapped[different], np.ones(42), classes[different], 999, 0
    )
    # a and b are independent but different, as are those of another sample but for its own a.
    assert found.relative[0] == pytest.approx(1, abs=0.12)
    assert found.relative[1] == 0 and found.p[1] == 1 / 1000
    # a - b becomes its negative: (2 (a - b))² on average over 2 Var, that is √2.
    assert found.relative[2] == pytest.approx(np.sqrt(2), abs=0.12)
    assert found.p[0] > 0.2 and found.p[2] > 0.99
    assert np.isnan(found.relative[3]) and found.spread[3] < 1e-12
    assert found.size[3] == pytest.approx(3)
    # a + b differs from that of samples with the same sum modulo 7 only by 7.
    assert found.relative_same_answer[1] == 0


def test_changes_are_those_of_numpy():
    task = Modular(ModularConfig(p=29))
    model = build_model(TransformerConfig(d_model=16, n_heads=2), 30, 3, seed=0).eval()
    with torch.no_grad():
        model.positional_embedding.weight.mul_(10)
        model.blocks[0].attention.query.weight.mul_(20)
    found = compared(model, task, pairings=199)
    tokens = pairs(29)
    tokens = tokens[tokens[:, 0] != tokens[:, 1]]
    hidden = []
    for own in (tokens, tokens[:, [1, 0, 2]]):
        with torch.no_grad():
            logits, seen = ablab.watch(model, torch.from_numpy(own), ["blocks.0.mlp.post"])
        post = seen["blocks.0.mlp.post"][:, -1].double().numpy()
        hidden.append((post, (logits - logits.mean(-1, keepdim=True))[:, -1].double().numpy()))
    (before, logits), (after, others) = hidden
    table = found.tables["neurons"]
    np.testing.assert_allclose(table["spread"], before.std(0), rtol=1e-4)
    change = np.sqrt(((before - after) ** 2).mean(0))
    np.testing.assert_allclose(table["change"], change, rtol=1e-3, atol=1e-6)
    # Independent samples differ by twice the variance.
    ratio = change / np.sqrt(2 * before.var(0))
    np.testing.assert_allclose(table["relative"], ratio, rtol=0.05)
    assert 0.02 < np.median(ratio) < 2
    expected = np.sqrt(((logits - others) ** 2).sum() / 2 / ((logits - logits.mean(0)) ** 2).sum())
    assert scalars(found)["swap_change_logits"] == pytest.approx(expected, rel=0.05)
    assert scalars(found)["swap_change_neurons"] == pytest.approx(np.median(ratio), rel=0.05)


def test_both_operands_are_exchanged_as_a_whole():
    planted = digit_adder(2)
    found = compared(planted.model, Addition(planted.task))
    numbers = scalars(found)
    assert numbers["swap_change_neurons"] < 1e-4
    assert numbers["swap_change_logits"] < 1e-4
    # Samples with the same answer have the same logits: there is nothing to compare with.
    assert numbers["swap_change_logits_same_answer"] is None
    assert numbers["cosine_operands"] == pytest.approx(0, abs=1e-6)  # one-hot positions
    assert numbers["cosine_operands_p"] > 0.05


def test_neighbours():
    task = Previous(PreviousConfig())
    model = build_model(TransformerConfig(d_model=32), 6, 8, seed=0).eval()
    untrained = scalars(compared(model, task, samples_of_probe=50))
    assert untrained["cosine_neighbours_p"] > 0.05 and untrained["cosine_operands"] is None
    walk = torch.randn(8, 32, generator=torch.Generator().manual_seed(0)).cumsum(0)
    with torch.no_grad():
        model.positional_embedding.weight.copy_(walk)
    found = scalars(compared(model, task, samples_of_probe=50))
    values = walk.double().numpy()
    unit = values / np.linalg.norm(values, axis=-1, keepdims=True)
    assert found["cosine_neighbours"] == pytest.approx((unit[1:] * unit[:-1]).sum(-1).mean())
    assert found["cosine_neighbours_p"] == 0.001


def test_models_and_tasks_without_positions():
    task = Modular(ModularConfig(p=5))
    found = compared(build_model(BigramConfig(), 6, 3, seed=0), task)
    assert found.scalars.height == 0 and "not a transformer" in found.notes[0]
    symbols = Previous(PreviousConfig())
    rope = build_model(TransformerConfig(position="rope"), 6, 8, seed=0)
    found = compared(rope, symbols, samples_of_probe=50)
    assert "no positional embedding" in found.notes[0]
    learned = build_model(TransformerConfig(), 6, 8, seed=0)
    found = compared(learned, symbols, samples_of_probe=50)
    assert "neurons" not in found.tables and len(rows(found, "pairs", of="embedding")) == 28
    # With rope, the same token has keys that differ by position, and equal values.
    sums = compared(build_model(TransformerConfig(position="rope"), 6, 3, seed=0), task)
    assert scalars(sums)["keys_distance_operands"] > 0.01
    assert scalars(sums)["values_distance_operands"] == pytest.approx(0, abs=1e-4)
