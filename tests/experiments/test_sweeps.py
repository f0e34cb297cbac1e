import json

import numpy as np
import pytest

import ablab
from ablab.config import InputError
from ablab.experiments.cell import run_of_cell
from ablab.experiments.experiment import experiment
from ablab.experiments.whole_numbers import is_whole

RATES = [0.0001, 0.0004642, 0.002154, 0.01]
SPACE = "geomspace(1e-4, 1e-2, 4)"


def ids(asked):
    return [run.id for run in asked.runs]


def labels(asked, key):
    return [variant.keys[key] for variant in asked.variants]


def grid(tiny, **blocks):
    return experiment(tiny | {"grid": blocks.pop("grid", {}) | blocks})


def problem(tiny, *overrides, **axes):
    with pytest.raises(InputError) as caught:
        experiment(tiny | {"grid": axes}, *overrides)
    (found,) = caught.value.problems
    return found


def test_a_sweep_is_the_same_in_a_file_on_the_command_line_and_in_python(tiny, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "task: {kind: addition, n_digits: 2}\nmodel: {d_model: 8, n_heads: 2}\n"
        f"train: {{steps: 20, batch_size: 16}}\ngrid: {{train.lr: '{SPACE}'}}\nseeds: 2\n"
    )
    plain = {"train.lr": RATES}
    expected = ids(grid(tiny, grid=plain))
    assert len(expected) == 8
    assert ids(experiment(path)) == expected
    assert ids(grid(tiny, grid={"train.lr": SPACE})) == expected
    assert ids(grid(tiny, grid={"train.lr": ablab.geomspace(1e-4, 1e-2, 4)})) == expected
    alone = tiny | {"grid": {}}
    assert ids(experiment(alone, f"train.lr={SPACE}")) == expected
    assert ids(experiment(alone, f"train.lr={ablab.geomspace(1e-4, 1e-2, 4)}")) == expected
    assert ids(experiment(alone, "train.lr=geomspace(n=4,lo=1e-4,hi=1e-2)")) == expected
    assert experiment(alone, f"train.lr={SPACE}") == grid(tiny, grid=plain)


def test_numbers_from_numpy_are_numbers(tiny):
    expected = ids(grid(tiny, grid={"train.lr": [0.001, 0.01], "model.d_model": [8, 16]}))
    given = {"train.lr": np.array([1e-3, 1e-2]), "model.d_model": range(8, 17, 8)}
    assert ids(grid(tiny, grid=given)) == expected
    given = {"train.lr": np.array([1e-3, 1e-2], dtype=np.float32), "model.d_model": (8, 16)}
    assert ids(grid(tiny, grid=given)) == expected
    given = {"train.lr": [np.float64(1e-3), np.float32(1e-2)], "model.d_model": np.array([8, 16])}
    made = experiment(tiny | {"grid": given, "seeds": np.int64(2)})
    assert ids(made) == expected
    assert json.loads(json.dumps(made.definition)) == made.definition


def test_a_sweep_and_further_values(tiny):
    found = experiment(tiny | {"grid": {}}, f"train.lr=0.3,{SPACE},0.01")
    assert labels(found, "train.lr") == [*RATES, 0.3]
    python = {"train.lr": [ablab.geomspace(1e-4, 1e-2, 4), 0.3]}
    assert ids(grid(tiny, grid=python)) == ids(found)


def test_drawn_values_depend_on_the_name_of_the_experiment(tiny):
    sweep = {"train.lr": "loguniform(1e-4, 1e-2, 3)"}
    found = labels(grid(tiny, grid=sweep), "train.lr")
    assert len(found) == 3
    assert found == labels(experiment(tiny | {"grid": sweep}, "train.steps=30"), "train.lr")
    renamed = experiment(tiny | {"grid": sweep}, "name=other")
    assert labels(renamed, "train.lr") != found
    # What is stored has the values, so a stored experiment keeps them under any name.
    again = experiment(renamed.definition, "name=third")
    assert labels(again, "train.lr") == labels(renamed, "train.lr")


def test_values_of_whole_settings_are_whole(tiny):
    found = grid(tiny, grid={"model.d_model": "geomspace(8, 64, 4)"})
    assert labels(found, "model.d_model") == [8, 16, 32, 64]
    tree = {"task": {"kind": "addition"}, "model": {}}
    assert is_whole("model.blocks.1.attention.window", tree) is True
    assert is_whole("model.d_model", tree) is True
    assert is_whole("model.d_mlp", tree) is True
    assert is_whole("train.batch_size", tree) is True
    assert is_whole("task.n_digits", tree) is True
    assert is_whole("task.p", tree) is True  # of another task, whose kind can be an axis
    assert is_whole("train.lr", tree) is False
    assert is_whole("train.weight_decay", tree) is False
    assert is_whole("train.optimizer.rho", tree) is None
    assert is_whole("model.width", {"model": {"kind": "mymod:Mine"}}) is None


def test_hydras_functions_are_known_in_files_too(tiny):
    assert labels(grid(tiny, grid={"model.n_layers": "range(1, 4)"}), "model.n_layers") == [1, 2, 3]


def test_keys_of_zip_vary_together(tiny):
    found = grid(
        tiny,
        grid={"train.lr": [0.1, 0.2]},
        zip={"model.d_model": [8, 16, 32], "model.n_heads": [1, 2, 4]},
    )
    assert [tuple(variant.keys.values()) for variant in found.variants] == [
        (0.1, 8, 1), (0.1, 16, 2), (0.1, 32, 4), (0.2, 8, 1), (0.2, 16, 2), (0.2, 32, 4),
    ]  # fmt: skip
    assert "[model.d_model (3) + model.n_heads (3): 3 combinations]" in str(found)
    assert experiment(found.definition) == found


def test_equal_rows_of_zip_are_one_variant(tiny):
    found = grid(tiny, zip={"model.d_model": [8, 8, 16], "model.n_heads": [1, 1, 1]})
    assert labels(found, "model.d_model") == [8, 16]


def test_drawn_values_in_zip_are_independent_of_each_other(tiny):
    found = grid(
        tiny, zip={"train.lr": "loguniform(1e-4, 1, 20)", "train.weight_decay": "uniform(0, 1, 20)"}
    )
    rates, decays = labels(found, "train.lr"), labels(found, "train.weight_decay")
    assert len(rates) == 20
    assert abs(np.corrcoef(np.argsort(rates), np.argsort(decays))[0, 1]) < 0.5


def test_several_blocks_of_zip(tiny):
    blocks = [
        {"model.d_model": [8, 16], "model.n_heads": [1, 2]},
        {"train.lr": [0.1, 0.2], "train.weight_decay": [0.0, 0.1]},
    ]
    found = grid(tiny, zip=blocks)
    assert len(found.variants) == 4
    assert experiment(found.definition) == found


def test_a_sobol_sequence_over_several_keys(tiny):
    over = {"train.lr": "loguniform(1e-4, 1e-2)", "model.d_model": [8, 16]}
    found = grid(tiny, sobol={"n": 8, "over": over})
    assert len(found.variants) == 8
    assert labels(found, "model.d_model").count(8) == 4
    assert sum(rate < 1e-3 for rate in labels(found, "train.lr")) == 4
    python = ablab.sobol(8, {"train.lr": ablab.loguniform(1e-4, 1e-2), "model.d_model": [8, 16]})
    assert grid(tiny, sobol=python) == found
    given = "grid.sobol={n:8,over:{train.lr:loguniform(1e-4,1e-2),model.d_model:[8,16]}}"
    assert ids(experiment(tiny | {"grid": {}}, given)) == ids(found)
    (rates, _) = found.axes
    assert [each.label for each in rates.choices] == sorted(labels(found, "train.lr"))
    whole = {"model.d_model": "uniform(1, 3)", "train.lr": [0.1]}
    few = experiment(tiny | {"grid": {"sobol": {"n": 16, "over": whole}}}, "model.n_heads=1")
    assert sorted(labels(few, "model.d_model")) == [1, 2, 3]


def conditional(tiny, *overrides, **more):
    axes = {"train.optimizer": ["adamw", "sgd"], "train.momentum": [0, 0.9], "train.lr": [0.1, 0.2]}
    when = {"train.momentum": {"train.optimizer": "sgd"}}
    return experiment(tiny | {"grid": axes | {"when": when} | more}, *overrides)


def test_a_key_varies_where_another_has_some_value(tiny):
    found = conditional(tiny)
    assert [tuple(variant.keys.values()) for variant in found.variants] == [
        ("adamw", "inactive", 0.1), ("adamw", "inactive", 0.2), ("sgd", 0, 0.1), ("sgd", 0, 0.2),
        ("sgd", 0.9, 0.1), ("sgd", 0.9, 0.2),
    ]  # fmt: skip
    assert experiment(found.definition) == found


def test_conditions_can_follow_from_each_other(tiny):
    found = conditional(
        tiny,
        **{"train.weight_decay": [0.0, 0.1, 0.2]},
        when={
            "train.momentum": {"train.optimizer": ["sgd"]},
            "train.weight_decay": {"train.momentum": 0.9, "train.lr": [0.1]},
        },
    )
    assert len(found.variants) == 2 + 2 + 1 + 3
    assert experiment(found.definition) == found


def test_an_override_decides_a_condition(tiny):
    keys = [tuple(variant.keys.values()) for variant in conditional(tiny).variants]
    sgd = conditional(tiny, "train.optimizer=sgd")
    assert [tuple(v.keys.values()) for v in sgd.variants] == [row[1:] for row in keys[2:]]
    adamw = conditional(tiny, "train.optimizer=adamw")
    assert [tuple(v.keys.values()) for v in adamw.variants] == [(0.1,), (0.2,)]
    assert "cells" not in adamw.definition
    stored = experiment(conditional(tiny).definition, "train.optimizer=sgd")
    assert ids(stored) == ids(sgd)


def test_an_override_of_a_key_of_zip(tiny):
    blocks = {"zip": {"model.d_model": [8, 16, 32], "model.n_heads": [1, 2, 2]}}
    fixed = experiment(tiny | {"grid": blocks}, "model.n_heads=2")
    assert labels(fixed, "model.d_model") == [16, 32]
    apart = experiment(tiny | {"grid": blocks}, "model.n_heads=1,2")
    assert len(apart.variants) == 6
    replaced = experiment(
        tiny | {"grid": {"model.d_model": [8, 16]}},
        "grid.zip={model.d_model:[8,32],model.n_heads:[1,4]}",
    )
    assert labels(replaced, "model.d_model") == [8, 32]
    over = {"model.d_model": [8, 32], "model.n_heads": [1, 4]}
    merged = experiment(tiny | {"grid": {"model.d_model": [8, 16]}}, grid={"zip": over})
    assert ids(merged) == ids(replaced)


def test_a_run_of_each_cell(tiny):
    for asked in (
        conditional(tiny),
        grid(tiny, zip={"model.d_model": [8, 16], "model.n_heads": [1, 2]}),
    ):
        stored = json.loads(json.dumps(asked.definition))
        for variant in asked.variants:
            assert run_of_cell(stored, variant.keys, 1).id == variant.runs[1].id
        with pytest.raises(InputError, match="no cell"):
            run_of_cell(stored, {"train.lr": 7}, 0)


def test_a_size_can_set_blocks(tiny):
    sizes = {"full": {"set": {"grid.zip": {"model.d_model": [8, 32], "model.n_heads": [1, 4]}}}}
    made = experiment(tiny | {"grid": {"train.lr": [0.1, 0.2]}, "sizes": sizes}, size="full")
    assert len(made.variants) == 4


@pytest.mark.parametrize(
    ("sweep", "message", "expected"),
    [
        ("geomspace(1e-2, 1e-4, 8)", "lo (0.01) is not below hi (0.0001)", "lo < hi"),
        ("geomspace(0, 1, 8)", "lo (0) has no logarithm", "lo > 0, or linspace"),
        ("loguniform(-1, 1, 8)", "lo (-1) has no logarithm", "lo > 0, or uniform"),
        ("linspace(0, 1, 0)", "n is not a number of values", "a whole number from 1 to 100,000"),
        ("uniform(0, 1, 100001)", "n is not", "a whole number from 1 to 100,000"),
        ("uniform(0, 1, 2.5)", "n is not", "a whole number"),
        ("uniform(0, 1)", "uniform has 2 of 3 arguments", "uniform(lo, hi, n)"),
        ("uniform(0, 1, 2, 3)", "uniform has 4 of 3 arguments", "uniform(lo, hi, n)"),
        ("uniform(0, high=1, n=2)", "uniform has no argument high", "uniform(lo, hi, n)"),
        ("uniform(0, inf, 2)", "hi is not a finite number", "with numbers"),
        ("uniform(a, 1, 2)", "lo is not a finite number", "with numbers"),
        ("geomspce(1, 2, 3)", "there is no sweep geomspce", "geomspace(…)"),
        ("sobol(16)", "there is no sweep sobol", "sobol: {n: 16, over: {"),
        ("geomspace(1, 2, [3)", "cannot be parsed", "geomspace(…)"),
    ],
)
def test_an_invalid_sweep_names_the_key_and_what_is_expected(tiny, sweep, message, expected):
    found = problem(tiny, **{"train.lr": sweep})
    assert "train.lr" in found.message
    assert message in found.message
    assert expected in str(found.expected)
    assert str(found.given).replace(" ", "").lower().startswith(sweep.replace(" ", "")[:8])


def test_the_nearest_name_of_a_sweep_is_suggested(tiny):
    assert problem(tiny, **{"train.lr": "geomspce(1, 2, 3)"}).suggestion == "geomspace"


def test_keys_of_zip_have_equally_many_values(tiny):
    found = problem(tiny, zip={"model.d_model": [8, 16, 32], "model.n_heads": [1, 2]})
    assert found.key == "grid.zip"
    assert found.given == "model.d_model: 3, model.n_heads: 2"
    assert "as many values for each key" in str(found.expected)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"train.lr": [1], "zip": {"train.lr": [1], "model.d_model": [8]}}, "train.lr is twice"),
        ({"zip": {"train.lr": [1]}, "sobol": {"n": 2, "over": {"train.lr": [1]}}}, "lr is twice"),
        ({"zip": [1]}, "zip is not a mapping"),
        ({"zip": {"model.d_modle": [8]}}, "model.d_modle is not a setting"),
        ({"zip": {"tain.lr": [8]}}, "tain.lr is not a setting"),
        ({"sobol": 16}, "sobol is not a number of points over several keys"),
        ({"sobol": {"n": 0, "over": {"train.lr": [1]}}}, "sobol: n is not a number of points"),
        ({"sobol": {"n": 4, "over": {"train.lr": "uniform(0, 1, 4)"}}}, "n belongs to sobol"),
        ({"sobol": {"n": 4, "over": {"train.lr": "linspace(0, 1)"}}}, "does not cover a linspace"),
        ({"sobol": {"n": 4, "over": {"train.lr": [1]}, "m": 3}}, "sobol has no setting m"),
        ({"train.lr": [1], "when": {"train.momentm": {"train.lr": 1}}}, "train.momentm is not an"),
        ({"train.lr": [1], "when": {"train.lr": {"train.optimzer": 1}}}, "optimzer is not an axis"),
        ({"train.lr": [1], "when": {"train.lr": {"train.lr": 1}}}, "depends on itself"),
        ({"train.lr": [1], "when": {"train.lr": {}}}, "train.lr has no conditions"),
        ({"train.lr": [1], "when": [1]}, "when is not a mapping"),
        (
            {"train.lr": [1], "model.d_model": [8], "when": {"train.lr": {"model.d_model": 9}}},
            "the axis model.d_model has no value 9",
        ),
    ],
)
def test_an_invalid_block_is_a_clear_error(tiny, axes, message):
    found = problem(tiny, **axes)
    assert message in found.message
    assert found.expected is not None or found.suggestion is not None


def test_too_many_combinations_are_refused_before_they_are_made(tiny):
    axes = {"train.lr": "uniform(0, 1, 1000)", "train.weight_decay": "uniform(0, 1, 1000)"}
    assert "2,000,000 runs" in problem(tiny, **axes).message


def test_cells_are_checked(tiny):
    axes = {"grid": {"train.lr": [0.1, 0.2]}}
    for cells, message in (
        ([{"train.lr": 0.3}], "train.lr=0.3 is not in the grid"),
        ([{"model.d_model": 8}], "is not in the grid"),
        ([3], "not a cell"),
        ({}, "not a list of cells"),
    ):
        with pytest.raises(InputError, match=message):
            experiment(tiny | axes | {"cells": cells})
    with pytest.raises(InputError, match="cannot both be given"):
        both = {"grid": {"zip": {"train.lr": [1, 2], "train.eps": [1, 2]}}}
        experiment(tiny | both | {"cells": [{"train.lr": 1}]})
