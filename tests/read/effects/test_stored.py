from unittest import mock

import pytest

import ablab
from ablab.config import InputError
from ablab.experiments.registration import derived_base
from ablab.read.effects import stored
from ablab.read.effects.stored import base_values, experiment_effects
from ablab.store import Store
from tests.read import filled
from tests.read.effects.made import grid

BASE = {
    "task": {"kind": "addition", "n_digits": 2},
    "model": {"kind": "transformer", "d_model": 8, "n_heads": 2},
    "train": {"steps": 20, "batch_size": 16},
}


def bases(axes, **levels):
    shown = {key: levels.get(key, list(values)) for key, values in axes.items()}
    return base_values(derived_base(BASE | {"grid": axes}), shown)


def test_a_base_value_is_what_the_configuration_says_or_leaves_at_its_default():
    assert bases({"model.d_model": [4, 8]}) == {"model.d_model": 8}
    assert bases({"train.lr": [1e-3, 0.1]}) == {"train.lr": 1e-3}
    # Another setting's default decides this one.
    assert bases({"train.weight_decay": [1.0, 0.01]}) == {"train.weight_decay": 0.01}
    assert bases({"model.d_model": [4, 16]}) == {}


def test_a_base_that_is_no_configuration_by_itself_still_has_its_values():
    definition = BASE | {"model": {"kind": "transformer", "d_model": 9, "n_heads": 2}}
    axes = {"model.d_model": [9, 16], "model.n_layers": [1, 2]}
    assert base_values(derived_base(definition | {"grid": axes}), axes) == {"model.d_model": 9}


def test_of_bundles_the_one_that_changes_nothing_is_the_base():
    bundles = {"wide": {"model.d_model": 32}, "plain": {}, "as it is": {"model.d_model": 8}}
    assert bases({"how": bundles}) == {"how": "plain"}
    assert bases({"how": {"wide": {"model.d_model": 32}}}) == {}


def test_values_that_tables_show_as_text_are_found():
    axes = {"model.n_heads": [2, "many"]}
    assert bases(axes, **{"model.n_heads": ["2", "many"]}) == {"model.n_heads": "2"}


@pytest.fixture
def kept(tmp_path):
    """A store with an experiment that nothing has trained yet."""
    store = Store(tmp_path / "lab", create=True)
    asked = ablab.experiment(BASE | {"name": "tiny", "grid": {"model.d_model": [16, 8]}}, seeds=3)
    return store, store.register(asked, "", {})


def test_a_stored_experiment_has_effects(kept):
    frame = grid({"model.d_model": [16, 8]}, 3, lambda width, seed: width + (width > 8) * seed)
    with mock.patch.object(stored, "measure_table", return_value=frame) as measured:
        found = experiment_effects(*kept, of="model.d_model", measure="best(loss)", margin=1.0)
    assert measured.call_args.args == (*kept, "best(loss)")
    assert (found.measure, found.base, found.margin) == ("best(loss)", {"model.d_model": 8}, 1.0)
    assert (found.factorial[0].value, found.factorial[0].difference) == (16, 9.0)


def test_the_measure_is_the_evaluations_loss_where_there_is_one(kept):
    taken = grid({"model.d_model": [16, 8]}, 1, lambda width, seed: 1.0)
    with mock.patch.object(stored, "measure_table", return_value=taken):
        assert experiment_effects(*kept).measure == "final(eval_loss)"
    assert experiment_effects(*kept).measure == "final(train_loss)"


def test_before_anything_has_trained_there_are_no_numbers(kept):
    found = experiment_effects(*kept)
    assert (found.runs, found.missing, found.factorial[0].difference) == (6, 6, None)


def test_without_a_grid_there_is_nothing_to_compare(kept):
    store, _ = kept
    record = store.register(ablab.experiment(BASE | {"name": "single"}), "", {})
    with pytest.raises(InputError, match="no grid"):
        experiment_effects(store, record)


def test_the_answer_of_the_experiment_is_compared_by_default(tmp_path):
    asked = filled.grid(steps=60, seeds=2, answer="train_loss at 30")
    kept, record = filled.fill(
        tmp_path / "lab", asked, lambda keys, seed, steps: 2.0 + seed - steps / 100
    )
    assert experiment_effects(kept, record).measure == "train_loss at 30"
    assert experiment_effects(kept, record, measure="loss").measure == "loss"


def test_an_answer_whose_column_was_not_logged_is_named(tmp_path):
    asked = filled.grid(steps=60, seeds=2, answer="final(eval_loss)")
    kept, record = filled.fill(tmp_path / "lab", asked, lambda keys, seed, steps: 2.0 + 0 * steps)
    with pytest.raises(InputError) as raised:
        experiment_effects(kept, record)
    (problem,) = raised.value.problems
    assert problem.key == "answer"
    assert problem.given == "final(eval_loss)"
    assert problem.message == "no column eval_loss was logged; the experiment's answer needs it"
    assert experiment_effects(kept, record, measure="loss").measure == "loss"
    with pytest.raises(InputError) as raised:
        experiment_effects(kept, record, measure="final(eval_loss)")
    assert raised.value.problems[0].key is None
