"""Numbers that hold: of one circuit, of models that are finite, beside a null that applies."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import ablab
from ablab.analysis.methods.effective_matrices import EffectiveMatrix
from ablab.analysis.methods.matrix_similarity import similarities
from ablab.analysis.methods.nine_terms import fit_nine_terms
from ablab.analysis.methods.similarity import of_embeddings
from ablab.analysis.methods.swapping import swap_change
from ablab.config import InputError
from ablab.model.build import build_model
from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.modular import Modular
from ablab.tasks.modular_config import ModularConfig
from tests.analysis.readers import rows, scalars
from tests.analysis.test_analyze import ASKED
from tests.store.makers import train

ONE_RUN = ASKED | {"grid": {}, "seeds": [0]}


def model_of(task, **settings):
    chosen = {"d_model": 8, "d_mlp": 8, "n_heads": 2, "bias": True} | settings
    sizes = task.config.vocab_size, task.config.input_length
    return build_model(TransformerConfig(**chosen), *sizes, seed=0).eval()


NOT_FINITE = {
    "fourier": ("key_frequencies", "share_of_logits_explained", "logits_outside_key_directions"),
    "progress": ("key_frequencies", "restricted_loss_logits_train", "trigonometric_loss"),
    "neurons": ("neurons_that_matter", "neurons_of_one_frequency", "dead", "always_active"),
    "ablation": ("loss", "parts_that_matter", "neurons_that_matter", "largest"),
    "attention": ("answer_to_itself_max", "entropy_share_mean", "induction_max", "induction_p"),
}


@pytest.mark.parametrize("name", NOT_FINITE)
def test_a_model_that_is_not_finite_has_no_numbers(name):
    task = Modular(ModularConfig(p=7, operation="a + b", train_fraction=0.5))
    model = model_of(task)
    with torch.no_grad():
        model.get_parameter("embedding.weight")[:] = float("nan")
    found = ablab.analyze(model, name, task=task)
    numbers = {key.rpartition("/")[2]: value for key, value in scalars(found).items()}
    assert {numbers[each] for each in NOT_FINITE[name]} == {None}


@pytest.mark.parametrize("name", NOT_FINITE)
def test_the_same_numbers_exist_of_a_finite_model(name):
    task = Modular(ModularConfig(p=7, operation="a + b", train_fraction=0.5))
    numbers = scalars(ablab.analyze(model_of(task, init_std=0.4), name, task=task))
    may_lack = {"share_of_logits_explained", "logits_outside_key_directions", "induction_p"}
    lacking = {each for each in NOT_FINITE[name] if numbers[each] is None}
    assert lacking <= may_lack | {"induction_max"}


def test_shares_of_weights_that_are_not_finite_are_not_zero():
    task = Modular(ModularConfig(p=7, operation="a + b"))
    model = model_of(task)
    with torch.no_grad():
        model.get_parameter("embedding.weight")[:] = float("nan")
    found = ablab.analyze(model, "attention", task=task)
    assert found.tables["heads"]["silent"].null_count() == 2
    assert found.tables["sources"]["share"].null_count() == found.tables["sources"].height


# Exchanged operands: samples with the same answer in classes of one, two and three.
@pytest.mark.parametrize(
    ("sizes", "has_ratio", "has_p"),
    [((1,) * 40, False, False), ((2,) * 20, True, False), ((3,) * 14, True, True),
     ((1,) * 30 + (2,) * 10, False, False), ((2,) * 10 + (3,) * 8, True, True),
     ((2,) * 20 + (3,) * 4, True, False)],
)  # fmt: skip
def test_few_samples_with_the_same_answer_are_no_null(sizes, has_ratio, has_p):
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(len(sizes)), sizes)
    values = rng.normal(size=(len(classes), 3, 1))
    swapped = values + 0.001 * rng.normal(size=values.shape)
    found = swap_change(values, swapped, np.ones(len(classes)), classes, 99, 0)
    assert np.isfinite(found.relative).all() and (found.p == 0.01).all()
    assert np.isfinite(found.relative_same_answer).all() == has_ratio
    assert np.isfinite(found.p_same_answer).all() == has_p
    assert has_p or np.isnan(found.p_same_answer).all()


def test_the_change_is_compared_on_the_samples_that_have_others():
    """Half of the samples are alone, and only these change by the exchange."""
    rng = np.random.default_rng(0)
    classes = np.concatenate([np.repeat(np.arange(20), 3), 20 + np.arange(60)])
    values = rng.normal(size=(120, 1, 1))
    swapped = np.where((classes >= 20)[:, None, None], values + 100, values)
    found = swap_change(values, swapped, np.ones(120), classes, 99, 0)
    assert found.relative_same_answer[0] == 0 and found.p_same_answer[0] == 0.01
    assert found.relative[0] > 10


def test_one_pair_of_positions_needs_no_correction():
    p, corrected = [], []
    for seed in range(200):
        vectors = np.random.default_rng(seed).normal(size=(2, 12))
        found = of_embeddings(vectors, 99, seed)
        p.append(found.p[0, 1])
        corrected.append(found.p_any[0, 1])
    np.testing.assert_array_equal(p, corrected)
    assert np.mean(np.array(corrected) <= 0.05) == pytest.approx(0.05, abs=0.04)


def test_a_part_that_does_harm_does_not_matter():
    """An MLP whose only effect is a large logit for a token that is never right."""
    task = Modular(ModularConfig(p=11, operation="a + b"))
    model = model_of(task, d_mlp=4, norm="none", init_std=0.02)
    with torch.no_grad():
        mlp = model.blocks[0].mlp
        mlp.linear.weight.zero_()
        mlp.linear.bias.fill_(3.0)
        mlp.projection.weight.zero_()
        mlp.projection.weight[0] = 1.0
        model.unembedding.weight[:, 0] = 0.0
        model.unembedding.weight[11, 0] = 1.0  # the token "="
    found = ablab.analyze(model, "ablation:how=zero", task=task)
    (mlp_row,) = rows(found, "parts", kind="mlp")
    assert mlp_row["change"] < -0.5 and mlp_row["p_corrected"] < 0.01
    assert mlp_row["matters"] is False
    numbers = scalars(found)
    assert numbers["largest_mlp"] == pytest.approx(mlp_row["change"])
    assert numbers["parts_that_matter"] == len(rows(found, "parts", matters=True))
    assert "blocks.0.mlp" not in {each["part"] for each in rows(found, "parts", matters=True)}


@pytest.mark.parametrize("p", [127, 131])
def test_answers_of_matrices_are_those_of_the_task_however_many(p):
    task = Modular(ModularConfig(p=p, operation="a + b"))
    found = ablab.analyze(model_of(task), "matrices:rotations=19", task=task, samples=4 * p)
    (array,) = found.arrays["neuron_logits"].values()
    assert array.shape[-1] <= p
    every = ablab.analyze(model_of(task), "matrices:rotations=19", task=task)
    (array,) = every.arrays["neuron_logits"].values()
    assert array.shape[-1] == p  # without the token "="


def test_positions_that_a_window_hides_have_no_part_in_the_mean():
    task = Addition(AdditionConfig(n_digits=1))
    model = model_of(task, attention={"window": 2}, norm="none", init_std=0.3)
    with torch.no_grad():
        model.positional_embedding.weight.mul_(5)
    numbers = []
    for shift in (0.0, 50.0):
        with torch.no_grad():
            model.positional_embedding.weight[0] += shift
        found = ablab.analyze(model, "matrices", task=task)
        numbers.append(scalars(found)["explained_without_positions"])
        (array,) = found.arrays["qk_answer_positions"].values()
        assert array.shape[-1] == 2
    assert numbers[0] == pytest.approx(numbers[1], abs=1e-6)


def test_heads_that_share_values_are_not_compared_by_them():
    task = Modular(ModularConfig(p=7, operation="a + b"))
    for groups, expected in ((1, 0), (2, 4), (4, 6)):
        model = model_of(task, n_heads=4, attention={"n_kv_heads": groups})
        found = ablab.analyze(model, "matrices:rotations=19", task=task)
        own = rows(found, "similarities", matrix="ov_logits")
        assert len([each for each in own if each["other_head"] is not None]) == expected
        assert len(rows(found, "similarities", matrix="qk")) == 6


def heads_of_one_group(seed):
    """Two heads that read by the same weights and write by unrelated ones."""
    rng = np.random.default_rng(seed)
    read, weight = rng.normal(size=(16, 24)), rng.normal(size=(24, 4))
    unembedding = rng.normal(size=(24, 15))
    found = []
    for number in range(2):
        after = rng.normal(size=(4, 24)) @ unembedding
        values, factors = read @ weight @ after, (read, weight, after)
        found.append(EffectiveMatrix("ov_logits", 0, number, values, factors))
    return found


def test_unrelated_heads_of_one_group_are_similar_since_they_share_a_reader():
    """The null says of far more than 5% of them that they are."""
    p = [similarities(heads_of_one_group(seed), 99, seed)[0].p for seed in range(100)]
    assert np.mean(np.array(p) <= 0.05) > 0.12
    shared = [replace(each, reader=0) for each in heads_of_one_group(0)]
    assert similarities(shared, 19, 0) == []
    shared[1] = replace(shared[1], reader=1)
    assert len(similarities(shared, 19, 0)) == 1


def test_panels_of_heads_and_blocks_have_their_own_numbers():
    from ablab.analysis.analysis import find_analysis
    from ablab.logbook.finding_figures import draw

    task = Modular(ModularConfig(p=7, operation="a + b"))
    model = model_of(task, n_layers=3, blocks={0: {"mlp": None}})
    found = ablab.analyze(model, "matrices:rotations=19", task=task)
    figures = {each.name: each for each in find_analysis("matrices").figures}
    names = [each.name for each in draw(found, figures["ov_logits"]).maps]
    assert names == [f"block {block}, head {head}" for block in range(3) for head in range(2)]
    assert [e.name for e in draw(found, figures["neuron_logits"]).maps] == ["block 1", "block 2"]


@pytest.mark.parametrize("activation", ["torch.nn:PReLU", "gelu"])
def test_a_model_whose_activation_has_parameters_is_rewritten(activation):
    task = Modular(ModularConfig(p=7, operation="a + b"))
    model = model_of(task, mlp={"activation": activation}, init_std=0.3)
    found = ablab.analyze(model, "matrices:rotations=19", task=task)
    assert scalars(found)["explained_all"] == pytest.approx(1, abs=1e-4)
    assert all(each.dtype == torch.float32 for each in model.parameters())


def test_relabellings_that_leave_a_neuron_as_it_is_count():
    """At n = 5, 20 of 120 relabellings are x → u x + v: none of them changes the share."""
    a, b = np.meshgrid(np.arange(5), np.arange(5), indexing="ij")
    waves = [np.cos(2 * np.pi * k * (a + b) / 5 + phase) for k in (1, 2) for phase in range(8)]
    found = fit_nine_terms(np.stack(waves, -1), 999, 0)
    assert (found.p > 0.12).all()


@pytest.mark.parametrize("name", ["ablation", "attention", "positions"])
def test_seeds_below_zero_are_refused(name):
    task = Modular(ModularConfig(p=7, operation="a + b"))
    with pytest.raises(InputError, match="seed"):
        ablab.analyze(model_of(task), f"{name}:seed=-1", task=task)


@pytest.fixture(scope="module")
def two_stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    made = [train(ONE_RUN, folder / name, compile="off") for name in ("a", "b")]
    return [
        ablab.open(folder / name).run(each.runs[0].run)
        for name, each in zip("ab", made, strict=True)
    ]


@pytest.mark.parametrize(
    ("options", "what"),
    [({"where": "nonsense=1"}, "where"), ({"task": Modular(ModularConfig(p=5))}, "task")],
)
def test_options_that_a_stored_run_cannot_use_are_refused(two_stores, options, what):
    with pytest.raises(InputError, match=f"{what} says nothing of"):
        ablab.analyze(two_stores[0], "parameter_norms", **options)


@pytest.mark.parametrize(
    ("options", "what"), [({"where": "a=1"}, "where"), ({"steps": "last"}, "steps")]
)
def test_options_that_a_module_cannot_use_are_refused(options, what):
    with pytest.raises(InputError, match=f"{what} says nothing of a module"):
        ablab.analyze(torch.nn.Linear(2, 2), "parameter_norms", **options)


def test_a_cell_of_one_run_by_its_id_is_refused(two_stores):
    run = two_stores[0]
    with pytest.raises(InputError, match="one run was asked for"):
        ablab.analyze(run.id, "parameter_norms", where="x=1", store=run.store)


def test_runs_of_two_stores_are_refused(two_stores):
    with pytest.raises(InputError, match="several stores"):
        ablab.analyze(two_stores, "parameter_norms")
    found = ablab.analyze(two_stores[:1], "parameter_norms")
    assert found.scalars.height
