"""Changes of a grid by sizes, arguments from Python and overrides, also within its blocks."""

import pytest

from ablab.config import InputError
from ablab.experiments.definition_file import definition_yaml
from ablab.experiments.experiment import experiment

ZIP = {"model.d_model": [8, 16], "model.n_heads": [1, 2]}


@pytest.fixture
def zipped(tiny):
    return tiny | {"grid": {"zip": ZIP}, "seeds": 1}


def cells(found):
    return [tuple(variant.keys.values()) for variant in found.variants]


def sized(tree, settings):
    return experiment(tree | {"sizes": {"full": {"set": settings}}}, size="full")


def test_a_size_fixes_a_key_of_zip(zipped):
    found = sized(zipped, {"model.d_model": 16})
    assert cells(found) == [(2,)]
    assert found.variants[0].parts.model.d_model == 16
    assert cells(sized(zipped, {"model": {"d_model": 16}})) == [(2,)]
    assert cells(sized(zipped, {"model.d_model": 32})) == [(1,), (2,)]
    assert cells(experiment(zipped, "model.d_model=16")) == [(2,)]


def test_a_size_gives_other_values_to_a_key_of_zip(zipped):
    found = sized(zipped, {"grid.model.d_model": [8, 32, 64]})
    assert cells(found) == [(8, 1), (8, 2), (32, 1), (32, 2), (64, 1), (64, 2)]
    assert cells(found) == cells(experiment(zipped, "model.d_model=8,32,64"))
    assert cells(sized(zipped, {"grid.model.d_model": None})) == [(1,), (2,)]


def test_the_later_setting_of_a_size_wins(zipped):
    both = {"grid.model.d_model": [8, 32], "model.d_model": 16}
    assert cells(sized(zipped, both)) == [(1,), (2,)]
    other = {"model.d_model": 16, "grid.model.d_model": [8, 32]}
    assert cells(sized(zipped, other)) == [(2, 8), (2, 32)]


def test_a_size_fixes_or_changes_a_key_of_sobol(tiny):
    over = {"model.d_model": [8, 16], "train.lr": "loguniform(1e-4, 1e-2)"}
    tree = tiny | {"grid": {"sobol": {"n": 8, "over": over}}, "seeds": 1}
    rates = [each for (each,) in cells(sized(tree, {"model.d_model": 16}))]
    assert rates == [rate for width, rate in cells(experiment(tree)) if width == 16]
    assert len(cells(sized(tree, {"grid.model.d_model": [32, 64]}))) == 16


def test_a_size_replaces_axes_with_the_keys_of_its_block(tiny):
    tree = tiny | {"grid": {"model.d_model": [8, 64], "train.lr": [0.1]}, "seeds": 1}
    assert cells(sized(tree, {"grid.zip": ZIP})) == [(0.1, 8, 1), (0.1, 16, 2)]


def test_a_mapping_of_overrides_is_as_good_as_several(zipped):
    assert cells(experiment(zipped, "model={d_model: 16}")) == [(2,)]
    axes = {"train.optimizer": ["adamw", "sgd"], "train.momentum": [0, 0.9]}
    when = {"train.momentum": {"train.optimizer": "sgd"}}
    tree = zipped | {"grid": axes | {"when": when}}
    assert cells(experiment(tree, "train={optimizer: sgd}")) == [(0,), (0.9,)]


@pytest.mark.parametrize("value", ["sgd", "{kind: sgd}"])
def test_a_component_replaces_its_axis_by_name_or_as_a_mapping(zipped, value):
    axes = {"train.optimizer": ["adamw", "sgd"], "train.lr": [0.1, 0.9]}
    for grid in (axes | {"when": {"train.lr": {"train.optimizer": "sgd"}}}, {"zip": axes}):
        found = experiment(zipped | {"grid": grid}, f"train.optimizer={value}")
        assert (0.9,) in cells(found)
        assert {each.parts.train.optimizer for each in found.variants} == {"sgd"}
    assert cells(found) == [(0.9,)]


def test_blocks_from_python_replace_those_of_the_file(zipped):
    other = {"model.d_model": [8, 32], "train.lr": [0.1, 0.2]}
    expected = experiment(zipped, "grid.zip={model.d_model:[8,32],train.lr:[0.1,0.2]}")
    assert cells(expected) == [(8, 0.1), (32, 0.2)]
    assert experiment(zipped, grid={"zip": other}) == expected
    sobol = {"n": 4, "over": {"model.d_model": [8, 32], "train.lr": [0.1]}}
    assert cells(experiment(zipped, grid={"sobol": sobol})) == [
        (1, 8, 0.1), (1, 32, 0.1), (2, 8, 0.1), (2, 32, 0.1),
    ]  # fmt: skip
    assert cells(experiment(zipped, grid={"zip": None})) == [()]


def test_an_axis_from_python_takes_its_key_out_of_a_block(zipped):
    found = experiment(zipped, grid={"model.d_model": [8, 32]})
    assert found == experiment(zipped, "model.d_model=8,32")
    assert cells(found) == [(8, 1), (8, 2), (32, 1), (32, 2)]


def test_the_grid_of_a_stored_definition_can_be_changed(zipped):
    stored = experiment(zipped).definition
    assert "cells" in stored
    assert cells(experiment(stored, grid={"model.d_model": [8, 32]})) == [
        (8, 1), (8, 2), (32, 1), (32, 2),
    ]  # fmt: skip
    assert cells(experiment(stored, grid={"train.lr": [0.1, 0.2]})) == [
        (8, 1, 0.1), (8, 1, 0.2), (16, 2, 0.1), (16, 2, 0.2),
    ]  # fmt: skip
    other = {"model.d_model": [32, 64], "model.n_heads": [1, 4]}
    assert cells(experiment(stored, grid={"zip": other})) == [(32, 1), (64, 4)]
    one = {"model.d_model": [32, 64], "train.lr": [0.1, 0.2]}
    assert len(experiment(stored, grid={"zip": one}).variants) == 4
    assert cells(experiment(stored, "model.d_model=16")) == [(2,)]
    with pytest.raises(InputError, match="variants of a stored experiment"):
        experiment(stored, grid={"when": {"model.n_heads": {"model.d_model": 8}}})


@pytest.mark.parametrize("override", ["grid.when={a.b: {c: 1}}", "grid.zip={a.b: [1]}"])
def test_a_grid_that_is_no_mapping_stays_an_error(tiny, override):
    with pytest.raises(InputError, match="grid is not a mapping of axes"):
        experiment(tiny | {"grid": [1]}, override)


@pytest.mark.parametrize("name", ["zip", "sobol"])
def test_an_empty_block_is_an_error(tiny, name):
    with pytest.raises(InputError, match=f"{name} is empty"):
        experiment(tiny | {"grid": {name: []}})


WIDER = {"model.d_model": [64, 128], "model.n_heads": [1, 2]}
AS_OVERRIDE = "grid.zip={model.d_model:[64,128],model.n_heads:[1,2]}"


@pytest.mark.parametrize("settings", [{"model.d_model": 16}, {"grid.model.d_model": [8, 32]}])
def test_a_later_block_replaces_what_a_size_changed(zipped, settings):
    tree = zipped | {"sizes": {"full": {"set": settings}}}
    expected = [(64, 1), (128, 2)]
    assert cells(experiment(tree, AS_OVERRIDE, size="full")) == expected
    assert cells(experiment(tree, size="full", grid={"zip": WIDER})) == expected
    assert cells(sized(zipped, settings | {"grid.zip": WIDER})) == expected
    assert cells(sized(zipped, settings | {"grid": {"zip": WIDER}})) == expected


def test_a_later_axis_replaces_what_a_size_changed_in_a_block_that_is_gone(zipped):
    other = {"zip": {"model.n_heads": [1, 2], "train.lr": [0.1, 0.2]}, "model.d_model": [64, 128]}
    tree = zipped | {"sizes": {"full": {"set": {"grid.model.d_model": [8, 32]}}}}
    found = cells(experiment(tree, size="full", grid=other))
    assert found == [(1, 0.1, 64), (1, 0.1, 128), (2, 0.2, 64), (2, 0.2, 128)]
    alone = {"zip": other["zip"]}
    tree = zipped | {"sizes": {"full": {"set": {
        "grid.model.d_model": [8, 32], "grid.zip": alone["zip"], "model.d_model": 64,
    }}}}  # fmt: skip
    found = experiment(tree, size="full")
    assert cells(found) == [(1, 0.1), (2, 0.2)]
    assert found.variants[0].parts.model.d_model == 64


def test_a_size_that_gives_a_new_grid_gives_all_of_it(zipped):
    settings = {"model.d_model": 16, "grid": {"model.d_model": [32, 64]}}
    assert cells(sized(zipped, settings)) == [(32,), (64,)]


def test_settings_from_python_take_precedence_over_the_grid(zipped):
    found = experiment(zipped | {"grid": {"model.d_model": [8, 16]}}, model={"d_model": 32})
    assert [each.parts.model.d_model for each in found.variants] == [32]
    assert cells(experiment(zipped, model={"d_model": 16})) == [(2,)]
    bundles = {"width": {"a": {"model.d_model": 8}, "b": {"model": {"d_model": 16, "n_heads": 1}}}}
    found = experiment(zipped | {"grid": bundles}, model={"d_model": 32})
    assert {each.parts.model.d_model for each in found.variants} == {32}
    axes = {"train.optimizer": ["adamw", "sgd"], "train.momentum": [0, 0.9]}
    when = {"train.momentum": {"train.optimizer": "sgd"}}
    tree = zipped | {"grid": axes | {"when": when}}
    assert cells(experiment(tree, train={"optimizer": "adamw"})) == [()]
    with pytest.raises(InputError) as caught:
        experiment(zipped, model={"d_model": 0})
    assert caught.value.problems[0].source == "argument model"


CLIPPED = {
    "grid": {
        "train.optimizer": ["adamw", "sgd"],
        "train.clip_norm": [0.1, 0.5],
        "when": {"train.clip_norm": {"train.optimizer": "sgd"}},
    },
    "seeds": 1,
}
JOINT = {
    "grid": {
        "train.lr": [0.1, 0.2],
        "zip": {"train.optimizer": ["adamw", "sgd"], "train.clip_norm": [0.1, 0.5]},
        "when": {"train.clip_norm": {"train.optimizer": "sgd"}},
    },
    "seeds": 1,
}
CHANGES = [
    "train.clip_norm=0.5", "train.clip_norm=0.5,0.9", "train.optimizer=adamw,lion",
    "train.optimizer=adamw,sgd,lion", "train.optimizer=sgd", "train.optimizer=lion",
    "train.optimizer=adamw", "train.lr=0.1,0.4",
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("grid", [CLIPPED, JOINT])
def test_a_stored_definition_is_changed_as_its_file(tiny, grid, change, tmp_path):
    whole = experiment(tiny | grid)
    for stored in (whole.definition, yaml_of(whole.definition, tmp_path)):
        assert experiment(stored) == whole
        assert cells(experiment(stored, change)) == cells(experiment(tiny | grid, change))


def yaml_of(definition, folder):
    path = folder / "stored.yaml"
    path.write_text(definition_yaml(definition))
    return path


@pytest.mark.parametrize("change", [each for each in CHANGES if "lion" not in each])
def test_listed_cells_alone_are_changed_as_far_as_they_say(tiny, change):
    listed = {k: v for k, v in experiment(tiny | CLIPPED).definition.items() if k != "made_by"}
    assert cells(experiment(listed)) == cells(experiment(tiny | CLIPPED))
    found = sorted(map(str, cells(experiment(listed, change))))
    assert found == sorted(map(str, cells(experiment(tiny | CLIPPED, change))))


def test_a_grid_with_as_many_cells_as_its_product_can_still_lack_keys(tiny):
    axes = {"train.optimizer": ["adamw", "sgd"], "train.clip_norm": [0.5]}
    tree = tiny | {"grid": axes | {"when": CLIPPED["grid"]["when"]}}
    found = experiment(tree)
    assert cells(found) == [("adamw", "inactive"), ("sgd", 0.5)]
    assert experiment(found.definition) == found


def test_cells_that_were_edited_are_reported(tiny):
    stored = experiment(tiny | CLIPPED).definition
    assert len(stored["cells"]) == 3
    with pytest.raises(InputError, match="not the variants that made_by and the settings give"):
        experiment(stored | {"cells": stored["cells"][1:]})
    with pytest.raises(InputError, match="made_by has no blocks"):
        experiment(stored | {"made_by": [1]})
    more = {"train.optimizer": ["adamw", "sgd", "lion"], "train.clip_norm": [0.1, 0.5]}
    rest = {key: each for key, each in stored.items() if key != "cells"}
    assert len(experiment(rest | {"grid": more}).variants) == 4


def test_cells_from_python_replace_those_that_were_made(tiny):
    stored = experiment(tiny | CLIPPED).definition
    listed = [{"train.optimizer": "adamw"}, {"train.optimizer": "sgd", "train.clip_norm": 0.5}]
    assert cells(experiment(stored, cells=listed)) == [("adamw", "inactive"), ("sgd", 0.5)]
    every = experiment(stored, cells=listed[:1])  # no cell has the other key, so it varies freely
    assert cells(every) == [("adamw", 0.1), ("adamw", 0.5)]
    assert cells(experiment(stored, cells=None)) == cells(experiment(stored))


@pytest.mark.parametrize("given", ["hello", [], [{1: 2}], [3]])
def test_cells_that_are_none_are_reported_beside_what_made_them(tiny, given):
    stored = experiment(tiny | CLIPPED).definition
    with pytest.raises(InputError, match="cell"):
        experiment(stored | {"cells": given})


def test_an_argument_that_an_axis_sets_too_is_reported_as_one(tiny):
    tree = tiny | {"grid": {"train.schedule": ["cosine", "linear"]}}
    with pytest.raises(InputError) as caught:
        experiment(tree, train={"schedule": {"warmup": 1}})
    assert 'an argument with the complete axis, grid={"train.schedule": …}' in str(caught.value)
    with pytest.raises(InputError, match=r"override of the complete axis, train\.schedule=…"):
        experiment(tree, "train.schedule.warmup=1")


def test_what_makes_bundles_the_same_run_is_named(tiny):
    tree = tiny | {"grid": {"rate": {"low": {"train.lr": 0.1}, "high": {"train.lr": 0.2}}}}
    said = "{} replaces settings in which the bundles differ"
    for changes, arguments, source in (
        ((), {"train": {"lr": 0.3}}, "argument train"),
        (("train.lr=0.3",), {}, "override 'train.lr=0.3'"),
    ):
        with pytest.raises(InputError, match="two cells of the grid are the same run") as caught:
            experiment(tree, *changes, **arguments)
        assert said.format(source) in str(caught.value)


@pytest.mark.parametrize("nothing", [{"train": {}}, {"model": {}}, {"train": {"schedule": {}}}])
def test_an_empty_mapping_changes_nothing(tiny, nothing):
    grid = {"train.lr": [0.1, 0.2], "model.d_model": [8, 16], "train.schedule.warmup": [0, 1]}
    whole = experiment(tiny | {"grid": grid})
    assert [v.label for v in experiment(tiny | {"grid": grid}, **nothing).variants] == [
        variant.label for variant in whole.variants
    ]
