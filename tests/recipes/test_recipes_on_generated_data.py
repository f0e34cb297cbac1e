"""The logbooks' recipes on data that they make: digit-addition, thinker and grokking."""

import math

import pytest

from ablab.experiments import experiment
from ablab.experiments.source import shipped

MINE = ("digit-addition", "thinker", "grokking")
CASES = [
    (each.name, size) for each in shipped() if each.logbook in MINE for size in ("quick", "full")
]


def cells(expectation):
    other = expectation.lower_than or expectation.higher_than or expectation.same_as or {}
    return [expectation.where, expectation.where | other]


@pytest.mark.parametrize(("recipe", "size"), CASES)
def test_recipes_parse_at_every_size(recipe, size):
    asked = experiment(recipe, f"size={size}")
    assert asked.definition["size"] == size
    values = {axis.key for axis in asked.axes}
    for each in asked.expectations:
        assert each.claim
        assert each.source
        assert {key for cell in cells(each) for key in cell} <= values


@pytest.mark.parametrize("recipe", sorted({recipe for recipe, _ in CASES}))
def test_what_a_recipe_expects_is_of_cells_of_one_size_at_least(recipe):
    sizes = [experiment(recipe, f"size={size}") for size in ("quick", "full")]
    for each in sizes[0].expectations:
        assert any(
            all(
                any(value == choice.label for axis in asked.axes if axis.key == key
                    for choice in axis.choices)
                for cell in cells(each)
                for key, value in cell.items()
            )
            for asked in sizes
        ), each.claim  # fmt: skip


def test_a_size_says_what_it_leaves_out():
    for each in shipped():
        if each.logbook in MINE:
            assert all(size.about for size in each.sizes.values()), each.name


@pytest.mark.parametrize("recipe", ["digit-addition-last", "digit-addition-next"])
def test_initial_weights_are_one_scale_at_every_width(recipe):
    for variant in experiment(recipe, "size=full").variants:
        model = variant.parts.model
        assert model.init_std * math.sqrt(model.d_model) == pytest.approx(1.13, rel=0.01)
        assert model.d_head * model.n_heads == model.d_model


def test_the_smallest_model_has_about_the_logbooks_parameters():
    variants = experiment("digit-addition-tiny").variants
    (two,) = [each for each in variants if each.keys["shape"] == "2/2"]
    assert sum(each.numel() for each in two.model(seed=0).parameters()) == 120  # it says 130


def test_more_heads_shares_runs_with_the_widths():
    widths = {run.id for run in experiment("digit-addition-last").runs}
    assert len(widths & {run.id for run in experiment("digit-addition-heads").runs}) == 3 * 5
    assert len(widths & {run.id for run in experiment("digit-addition-inside").runs}) == 4 * 5
