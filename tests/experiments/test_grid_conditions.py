"""``when:`` — where a key of a grid varies — with settings, overrides, bundles and sizes."""

import sys

import pytest

from ablab.config import InputError
from ablab.experiments.cell_text import parse_cell
from ablab.experiments.experiment import experiment, outline

SGD = {"train.momentum": {"train.optimizer": "sgd"}}


def made(tiny, axes, when, *overrides, train=None, **more):
    tree = tiny | {
        "train": tiny["train"] | (train or {}),
        "grid": axes | {"when": when},
        "seeds": 1,
    }
    return experiment(tree | more, *overrides)


def cells(found):
    return [tuple(variant.keys.values()) for variant in found.variants]


def momenta(tiny, *overrides, train=None, **more):
    axes = {"train.momentum": [0, 0.9]}
    return cells(made(tiny, axes, SGD, *overrides, train=train or {"optimizer": "adamw"}, **more))


@pytest.mark.parametrize("train", [{"optimizer": "adamw"}, {"eps": 1e-8}])
def test_an_override_decides_a_condition_on_a_setting_that_is_no_axis(tiny, train):
    assert momenta(tiny, "train.optimizer=sgd", train=train) == [(0,), (0.9,)]
    assert momenta(tiny, "train.optimizer=adamw,sgd", train=train) == [
        ("inactive", "adamw"), (0, "sgd"), (0.9, "sgd"),
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"no variant has train.optimizer=sgd"):
        momenta(tiny, "train.optimizer=adamw", train=train)  # as without the override
    sizes = {"sizes": {"full": {"set": {"train.optimizer": "sgd"}}}}
    assert momenta(tiny, "train.optimizer=adamw", train=train, **sizes) == [()]
    assert momenta(tiny, "train={optimizer: sgd}", train=train) == [(0,), (0.9,)]
    assert momenta(tiny, "train.optimizer={kind: sgd}", train=train) == [(0,), (0.9,)]


def test_a_bundle_decides_a_condition(tiny):
    bundles = {"opt": {"a": {"train.optimizer": "adamw"}, "b": {"train": {"optimizer": "sgd"}}}}
    found = made(tiny, {"train.momentum": [0, 0.9]} | bundles, SGD)
    assert cells(found) == [("inactive", "a"), (0, "b"), (0.9, "b")]
    assert experiment(found.definition) == found
    only = made(tiny, {"train.momentum": [0, 0.9]} | bundles, SGD, "opt=a")
    assert cells(only) == [("a",)]


def test_a_condition_on_a_bundles_setting_is_decided_after_that_on_the_bundle(tiny):
    axes = {
        "train.weight_decay": [0.0, 0.1],
        "opt": {"a": {"train.optimizer": "adamw"}, "b": {"train.optimizer": "sgd"}},
        "train.lr": [0.1, 0.2],
    }
    when = {"train.weight_decay": {"train.optimizer": "adamw"}, "opt": {"train.lr": 0.1}}
    assert cells(made(tiny, axes, when, train={"optimizer": "adamw"})) == [
        (0.0, "a", 0.1), (0.0, "inactive", 0.2), ("inactive", "b", 0.1), (0.1, "a", 0.1),
        (0.1, "inactive", 0.2),
    ]  # fmt: skip


def test_the_default_of_a_setting_decides_a_condition(tiny):
    when = {"train.weight_decay": {"train.optimizer": "adamw"}}
    assert cells(made(tiny, {"train.weight_decay": [0.0, 0.1]}, when)) == [(0.0,), (0.1,)]


@pytest.mark.parametrize(("given", "wanted"), [(0.0, 0), (0, 0.0), (0.1, [0.1])])
def test_numbers_are_compared_by_value(tiny, given, wanted):
    when = {"train.lr": {"train.weight_decay": wanted}}
    found = made(tiny, {"train.lr": [0.1, 0.2]}, when, train={"weight_decay": given})
    assert cells(found) == [(0.1,), (0.2,)]
    axes = {"train.lr": [0.1, 0.2], "train.weight_decay": [given, 0.5]}
    assert len(made(tiny, axes, when).variants) == 3


def test_one_is_not_another_value_than_one_point_zero(tiny):
    with pytest.raises(InputError, match=r"the axis train.weight_decay has 1\.0 twice"):
        experiment(tiny | {"grid": {"train.weight_decay": [1, 1.0]}})


def test_true_is_not_one(tiny):
    with pytest.raises(InputError, match="no value True"):
        axes = {"train.lr": [0.1, 0.2], "model.n_layers": [1, 2]}
        made(tiny, axes, {"train.lr": {"model.n_layers": True}})


def test_a_key_that_varies_nowhere_is_reported(tiny):
    with pytest.raises(InputError, match=r"no variant has train.weight_decay=0.5") as caught:
        when = {"train.lr": {"train.weight_decay": 0.5}}
        made(tiny, {"train.lr": [0.1, 0.2]}, when, train={"weight_decay": 0.0})
    assert caught.value.problems[0].key == "grid.when.train.lr"
    with pytest.raises(InputError, match=r"train.momentum varies nowhere"):
        momenta(tiny)
    size = {"sizes": {"full": {"set": {"grid.train.optimizer": ["adamw", "sgd"]}}}}
    assert momenta(tiny, **size) == [()]
    assert len(momenta(tiny, "size=full", **size)) == 3


def test_keys_that_follow_from_an_overridden_one_can_vary_nowhere(tiny):
    axes = {"train.optimizer": ["adamw", "sgd"], "train.momentum": [0, 0.9], "train.lr": [0.1, 0.2]}
    when = SGD | {"train.lr": {"train.momentum": 0.9}}
    assert len(made(tiny, axes, when).variants) == 4
    assert cells(made(tiny, axes, when, "train.optimizer=adamw")) == [()]


def test_an_inactive_key_is_not_null(tiny):
    axes = {"train.optimizer": ["adamw", "sgd"], "train.clip_norm": [None, 0.5]}
    found = made(
        tiny, axes, {"train.clip_norm": {"train.optimizer": "sgd"}}, train={"clip_norm": 1.0}
    )
    assert cells(found) == [("adamw", "inactive"), ("sgd", None), ("sgd", 0.5)]
    assert [v.parts.train.clip_norm for v in found.variants] == [1.0, None, 0.5]
    label = found.variants[0].label
    assert label == "train.optimizer=adamw, train.clip_norm=inactive"
    assert parse_cell(label) == found.variants[0].keys
    assert parse_cell("train.clip_norm=null") == {"train.clip_norm": None}
    assert experiment(found.definition) == found


BOTH = {"train.optimizer": ["adamw", "sgd"], "train.momentum": [0, 0.9]}
TYPO = {"train.momentum": {"train.optimizer": "sdg"}}


@pytest.mark.parametrize(
    ("override", "more"),
    [
        (None, {"full": {"set": {"grid.train.optimizer": ["adamw", "sgd", "lion"]}}}),
        (None, {"full": {"set": {"train.optimizer": "adamw"}}}),
        ("train.optimizer=adamw,sgd", None),
    ],
)
def test_a_value_that_is_nowhere_is_reported_whoever_mentions_its_key(tiny, override, more):
    given = [] if override is None else [override]
    sizes = {} if more is None else {"sizes": more}
    with pytest.raises(InputError, match=r"the axis train.optimizer has no value sdg") as caught:
        made(tiny, BOTH, TYPO, *given, **sizes)
    assert caught.value.problems[0].suggestion == "sgd"
    with pytest.raises(InputError, match="no value sdg"):
        made(tiny, BOTH, {"train.momentum": {"train.optimizer": ["sgd", "sdg"]}}, *given, **sizes)


def test_a_value_of_some_size_is_one(tiny):
    when = {"train.momentum": {"train.optimizer": ["sgd", "muon"]}}
    sizes = {"sizes": {"full": {"set": {"grid.train.optimizer": ["adamw", "muon"]}}}}
    assert len(made(tiny, BOTH, when, **sizes).variants) == 3
    assert cells(made(tiny, BOTH, when, "size=full", **sizes)) == [
        ("adamw", "inactive"), ("muon", 0), ("muon", 0.9),
    ]  # fmt: skip


def test_a_condition_for_a_setting_that_is_no_axis_anywhere_is_reported(tiny):
    axes = {"train.optimizer": ["adamw", "sgd"]}
    when = {"train.lr": {"train.optimizer": "sgd"}}
    with pytest.raises(InputError, match=r"train.lr is not an axis") as caught:
        made(tiny, axes, when, train={"lr": 0.1})
    assert "given" not in str(caught.value)
    found = made(tiny, axes, when, "train.lr=0.5", train={"lr": 0.1})
    assert cells(found) == [("adamw",), ("sgd",)]
    assert len(made(tiny, axes, when, "train.lr=0.1,0.2").variants) == 3


def test_a_size_removes_an_axis_with_a_condition(tiny):
    sizes = {"full": {"set": {"grid.train.momentum": None}}}
    found = made(tiny, BOTH, SGD, "size=full", sizes=sizes)
    assert cells(found) == [("adamw",), ("sgd",)]
    tree = tiny | {"grid": BOTH | {"when": SGD}, "seeds": 1}
    found = experiment(tree, grid={"train.momentum": None})
    assert cells(found) == [("adamw",), ("sgd",)]


def test_a_size_removes_the_bundles_of_a_condition(tiny):
    axes = {"opt": {"a": {}, "b": {"train.optimizer": "sgd"}}, "train.lr": [0.1, 0.2]}
    when = {"train.lr": {"opt": "b"}}
    assert len(made(tiny, axes, when).variants) == 3
    sizes = {"full": {"set": {"grid.opt": None}}}
    assert cells(made(tiny, axes, when, "size=full", sizes=sizes)) == [()]


def test_a_bundle_called_inactive_is_recorded_under_its_name(tiny):
    grid = {"reg": {"active": {"train.weight_decay": 0.2}, "inactive": {}}}
    found = experiment(tiny | {"grid": grid})
    assert [found.recorded_keys(each) for each in found.variants] == [
        {"reg": "active"}, {"reg": "inactive"},
    ]  # fmt: skip
    found = made(tiny, BOTH, SGD)
    assert found.recorded_keys(found.variants[0]) == {
        "train.optimizer": "adamw", "train.momentum": None,
    }  # fmt: skip


def test_the_word_cannot_be_a_value_of_such_a_key(tiny):
    rows = [{"train.lr": 0.1}, {"train.lr": 0.2, "opt": "inactive"}]
    grid = {"train.lr": [0.1, 0.2], "opt": {"inactive": {}}}
    with pytest.raises(InputError, match="inactive stands for a key that does not vary"):
        experiment(tiny | {"grid": grid, "cells": rows})
    axes = {"train.lr": [0.1, 0.2], "opt": {"inactive": {}, "b": {"train.eps": 1e-6}}}
    with pytest.raises(InputError, match="inactive stands for a key that does not vary"):
        made(tiny, axes, {"opt": {"train.lr": 0.1}})


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ({"train.lr": {"train.optimizer": []}}, "train.lr has no value of train.optimizer"),
        ({"train.lr": {"train.optimzer": "sgd"}}, "train.optimzer is not an axis"),
        ({"train.momentm": {"train.lr": 0.1}}, "train.momentm is not an axis"),
        ({"train.lr": {"opt": "a"}}, "opt is not an axis"),
        ({"train.lr": {3: 1}}, "3 is not an axis"),
        ({"train.lr": {"seeds": 1}}, "seeds is not an axis"),
    ],
)
def test_conditions_without_a_meaning_are_reported(tiny, when, message):
    with pytest.raises(InputError, match=message):
        made(tiny, {"train.lr": [0.1, 0.2]}, when)


def test_defaults_that_depend_on_other_settings_decide_conditions(tiny):
    axes = {"model.d_model": [8, 16], "train.lr": [0.1, 0.2]}
    found = made(tiny, axes, {"train.lr": {"model.d_mlp": 32}})
    assert cells(found) == [(8, 0.1), (8, 0.2), (16, "inactive")]
    alone = made(tiny, {"train.lr": [0.1, 0.2]}, {"train.lr": {"model.d_mlp": 32}})
    assert cells(alone) == [(0.1,), (0.2,)]
    with pytest.raises(InputError, match=r"no variant has model.d_mlp=8"):
        made(tiny, {"train.lr": [0.1, 0.2]}, {"train.lr": {"model.d_mlp": 8}})


def test_a_setting_that_a_kind_lacks_has_no_value_there(tiny):
    axes = {"task.kind": ["addition", "copy"], "train.lr": [0.1, 0.2]}
    found = made(tiny, axes, {"train.lr": {"task.n_digits": 2}})
    assert cells(found) == [("addition", 0.1), ("addition", 0.2), ("copy", "inactive")]
    found = made(tiny, axes, {"train.lr": {"task.n_symbols": 10}})
    assert cells(found) == [("addition", "inactive"), ("copy", 0.1), ("copy", 0.2)]


def test_no_module_is_imported_for_a_condition(tiny, folder):
    folder.write(mine="def seen(run): ...")
    train = tiny.get("train", {}) | {"callbacks": ["mine:seen"]}
    when = {"model.n_layers": {"train.momentum": 0}}
    axes = {"train.lr": [0.1, 0.2], "model.n_layers": [1, 2]}
    outline(tiny | {"train": train, "grid": axes | {"when": when}})
    assert "mine" not in sys.modules
