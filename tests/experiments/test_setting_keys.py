"""The setting that a user probably meant."""

import pytest

import ablab
from ablab.config import InputError
from ablab.experiments.setting_keys import known_keys, suggest_key


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("model.width", "model.d_model"),
        ("model.hidden_size", "model.d_model"),
        ("model.dim", "model.d_model"),
        ("width", "model.d_model"),
        ("model.heads", "model.n_heads"),
        ("model.layers", "model.n_layers"),
        ("depth", "model.n_layers"),
        ("task.digits", "task.n_digits"),
        ("train.learning_rate", "train.lr"),
        ("train.batch", "train.batch_size"),
        ("epochs", "train.epochs"),
        ("lr", "train.lr"),
        ("model.d_modl", "model.d_model"),
        ("modle.d_model", "model.d_model"),
        ("train.schedul.warmup", "train.schedule.warmup"),
        ("train.optimzer", "train.optimizer"),
        ("model.blocks.3.nrom", "model.blocks.3.norm"),
        ("sedes", "seeds"),
        ("model.xyzzy", None),
        ("model.colour", None),
    ],
)
def test_the_nearest_setting_or_the_one_that_a_word_means(given, meant):
    assert suggest_key(given) == meant


def test_a_known_key_is_itself():
    for key in known_keys():
        assert suggest_key(key) == key
    assert suggest_key("model.blocks.0.norm") == "model.blocks.0.norm"


def test_it_is_suggested_in_errors():
    for settings, meant in (
        ({"model": {"width": 8}}, "model.d_model"),
        ({"train": {"learning_rate": 1}}, "train.lr"),
        ({"model": {"xyzzy": 8}}, None),
    ):
        with pytest.raises(InputError) as caught:
            ablab.experiment({"name": "x", "task": {"kind": "addition"}} | settings)
        assert [each.suggestion for each in caught.value.problems] == [meant]


def test_a_setting_of_another_kind_is_not_suggested_instead_of_itself():
    with pytest.raises(InputError) as caught:
        ablab.experiment({"name": "x", "task": {"kind": "copy", "n_digits": 2}})
    (problem,) = caught.value.problems
    assert problem.message == "task.n_digits is not a setting of this task.kind"
    assert "task.length" in problem.expected
    assert problem.suggestion is None
