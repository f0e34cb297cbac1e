from unittest import mock

import polars as pl
import pytest

from ablab.config import InputError
from ablab.read.effects import stored
from ablab.read.effects.stored import base_values, default_measure, experiment_effects
from tests.store.makers import train

BASE = {
    "task": {"kind": "addition", "n_digits": 2},
    "model": {"kind": "transformer", "d_model": 8, "n_heads": 2},
    "train": {"steps": 20, "batch_size": 16},
}


def bases(grid, **levels):
    shown = {key: levels.get(key, list(values)) for key, values in grid.items()}
    return base_values(BASE | {"grid": grid}, shown)


def test_a_base_value_is_what_the_configuration_says_or_leaves_at_its_default():
    assert bases({"model.d_model": [4, 8]}) == {"model.d_model": 8}
    assert bases({"train.lr": [1e-3, 0.1]}) == {"train.lr": 1e-3}
    # Another setting's default decides this one.
    assert bases({"train.weight_decay": [1.0, 0.01]}) == {"train.weight_decay": 0.01}
    assert bases({"model.d_model": [4, 16]}) == {}


def test_a_base_that_is_no_configuration_by_itself_still_has_its_values():
    definition = BASE | {"model": {"kind": "transformer", "d_model": 9, "n_heads": 2}}
    grid = {"model.d_model": [9, 16], "model.n_layers": [1, 2]}
    assert base_values(definition | {"grid": grid}, grid) == {"model.d_model": 9}


def test_of_bundles_the_one_that_changes_nothing_is_the_base():
    bundles = {"wide": {"model.d_model": 32}, "plain": {}, "as it is": {"model.d_model": 8}}
    assert bases({"how": bundles}) == {"how": "plain"}
    assert bases({"how": {"wide": {"model.d_model": 32}}}) == {}


def test_values_that_tables_show_as_text_are_found():
    grid = {"model.n_heads": [2, "many"]}
    assert bases(grid, **{"model.n_heads": ["2", "many"]}) == {"model.n_heads": "2"}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    tiny = BASE | {"name": "tiny", "grid": {"model.d_model": [16, 8]}, "seeds": 3}
    tiny["train"] = BASE["train"] | {"evaluate": {"every": 10, "samples": 32}}
    return train(tiny, tmp_path_factory.mktemp("effects") / "lab")


def test_a_stored_experiment_has_effects(result):
    found = experiment_effects(result.store, result.record)
    assert (found.measure, found.base) == ("final(eval_loss)", {"model.d_model": 8})
    losses = {(r.variant["model.d_model"], r.seed): r.eval_loss for r in result.runs}
    mean = sum(losses[16, seed] - losses[8, seed] for seed in range(3)) / 3
    assert found.factorial[0].difference == pytest.approx(mean)


def test_other_measures_and_none_that_is_known(result):
    found = experiment_effects(result.store, result.record, measure="final(train_loss)")
    assert found.missing == 0
    with pytest.raises(InputError, match="is not a measure"):
        experiment_effects(result.store, result.record, measure="finale(loss)")


def test_without_evaluations_it_is_the_training_loss(result):
    assert default_measure(result.store, result.record) == "final(eval_loss)"
    never = pl.DataFrame({"value": pl.Series([None], dtype=pl.Float64)})
    with mock.patch.object(stored, "measured", return_value=never):
        assert default_measure(result.store, result.record) == "final(train_loss)"


def test_without_a_grid_there_is_nothing_to_compare(tmp_path):
    trained = train(BASE | {"name": "single"}, tmp_path / "lab")
    with pytest.raises(InputError, match="no grid"):
        experiment_effects(trained.store, trained.record)
