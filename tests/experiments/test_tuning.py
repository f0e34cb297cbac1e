"""How tuning is written, and experiments with the settings that it found."""

import pytest

from ablab.config import InputError
from ablab.experiments import experiment
from ablab.experiments.cell import run_of_cell
from ablab.experiments.definition_file import definition_yaml
from ablab.experiments.trials import (
    best_trial,
    cells_of,
    check_measure,
    score,
    trial_experiment,
    tuned_experiment,
)
from ablab.experiments.tuned_cells import is_to_tune
from ablab.experiments.tuning import selection_seeds, tuning_of

TUNE = {"over": {"train.lr": "loguniform(1e-4, 1e-2)"}, "trials": 4, "seeds": 2}
ASKED = {
    "name": "tuned",
    "task": {"kind": "addition", "n_digits": 1, "target": "all"},
    "model": {"d_model": 8},
    "train": {"steps": 2, "batch_size": 4},
    "grid": {"model.n_heads": [1, 2]},
    "seeds": 3,
    "tune": TUNE,
}


def problems(**tune):
    """The problems of an experiment with some settings of ``tune``."""
    with pytest.raises(InputError) as error:
        experiment(ASKED | {"tune": TUNE | tune})
    return error.value.problems


@pytest.mark.parametrize(
    ("tune", "key", "says"),
    [
        ({"trails": 4}, "tune.trails", "trials"),
        ({"over": None}, "tune.over", "no ranges"),
        ({"over": {}}, "tune.over", "no ranges"),
        ({"over": {"train.lrr": "uniform(0, 1)"}}, "train.lrr", "train.lr"),
        ({"over": {"trian.lr": "uniform(0, 1)"}}, "trian.lr", "train.lr"),
        ({"over": {"train.lr": 0.1}}, "tune.over.train.lr", "no range"),
        ({"over": {"train.lr": [0.1, 0.2]}}, "tune.over.train.lr", "no range"),
        ({"over": {"train.lr": "geomspace(1e-4, 1e-2)"}}, "tune.over.train.lr", "loguniform"),
        ({"over": {"train.lr": "normal(0, 1)"}}, "train.lr", "normal"),
        ({"over": {"train.lr": "uniform(0.1, 0.01)"}}, "train.lr", "not below"),
        ({"over": {"train.lr": "uniform(0.1, 0.1)"}}, "train.lr", "not below"),
        ({"over": {"train.lr": "loguniform(0, 0.1)"}}, "train.lr", "no logarithm"),
        ({"over": {"train.lr": "loguniform(1e-4, 1e-2, 8)"}}, "train.lr", "n "),
        ({"over": {"model.n_heads": "uniform(1, 4)"}}, "tune.over.model.n_heads", "axis"),
        ({"over": {"seeds": "uniform(1, 4)"}}, "seeds", "seeds"),
        ({"trials": 0}, "tune.trials", "trials"),
        ({"trials": 2.5}, "tune.trials", "trials"),
        ({"trials": True}, "tune.trials", "trials"),
        ({"seeds": 0}, "tune.seeds", "seeds"),
        ({"seeds": [0, 1]}, "tune.seeds", "seeds"),
        ({"measure": "finl(eval_loss)"}, None, "finl"),
        ({"measure": "spikes(train_loss)"}, "tune.measure", "spikes"),
        ({"measure": "seconds"}, "tune.measure", "seconds"),
        ({"measure": 3}, "tune.measure", "not a measure"),
        ({"search": "sobel"}, "tune.search", "sobol"),
        ({"trials": 50_000}, "grid", "runs"),
    ],
)
def test_what_is_wrong_is_said(tune, key, says):
    found = problems(**tune)
    assert key in [each.key for each in found]
    assert any(says in f"{each.message} {each.suggestion} {each.expected}" for each in found)


def test_several_problems_are_said_at_once():
    found = problems(trials=0, seeds=0, search="any")
    assert [each.key for each in found] == ["tune.trials", "tune.seeds", "tune.search"]


def test_a_setting_of_a_bundle_cannot_be_tuned():
    grid = {"rate": {"low": {"train.lr": 1e-4}, "high": {"train.lr": 1e-3}}}
    with pytest.raises(InputError, match="set by the axis rate"):
        experiment(ASKED | {"grid": grid})


def test_a_setting_that_a_variant_does_not_have_is_said_before_training():
    grid = {"train.optimizer": ["adamw", "sgd"]}
    tune = TUNE | {"over": {"train.momentum": "uniform(0, 0.9)"}}
    with pytest.raises(InputError, match=r"train.optimizer=adamw"):
        experiment(ASKED | {"grid": grid, "tune": tune})


def test_a_measure_without_a_direction_is_said():
    asked = experiment(ASKED | {"tune": TUNE | {"measure": "final(grad_norm)"}})
    with pytest.raises(InputError, match="grad_norm"):
        check_measure(asked)
    for measure, better in [
        ("final(eval_loss)", "lower"),
        ("best(eval_accuracy)", "higher"),
        ("final(eval_accuracy)", "higher"),
        ("steps_to(eval_accuracy, 0.9)", "lower"),
        ("best(grad_norm, higher)", "higher"),
    ]:
        asked = experiment(ASKED | {"tune": TUNE | {"measure": measure}})
        assert check_measure(asked) == [better, better]


def test_defaults_and_plain_data():
    asked = experiment(ASKED | {"tune": {"over": TUNE["over"]}})
    assert asked.definition["tune"] == {
        "over": {"train.lr": "loguniform(0.0001, 0.01)"},
        "trials": 16,
        "seeds": 2,
        "measure": "final(eval_loss)",
        "search": "sobol",
    }
    assert experiment(asked.definition) == asked
    assert "16 trials of 2 variants, 2 seeds: 64 runs" in str(asked)


def test_overrides_and_sizes():
    assert tuning_of(experiment(ASKED, "tune.trials=8").definition).trials == 8
    assert "tune" not in experiment(ASKED, "tune=null").definition
    assert "tune" not in experiment(ASKED, tune=None).definition
    sizes = {"full": {"set": {"tune.trials": 32}}, "plain": {"set": {"tune": None}}}
    assert tuning_of(experiment(ASKED | {"sizes": sizes}, "size=full").definition).trials == 32
    assert "tune" not in experiment(ASKED | {"sizes": sizes}, "size=plain").definition
    with pytest.raises(InputError, match=r"tune\.trails"):
        experiment(ASKED, "tune.trails=8")


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        (3, [1_000_000_000, 1_000_000_001]),
        ([5, 1_000_000_000], [1_000_000_001, 1_000_000_002]),
        ({"from": 3, "to": 40}, [1_000_000_000, 1_000_000_001]),
    ],
)
def test_the_seeds_of_trials_are_never_reported(seeds, expected):
    asked = experiment(ASKED | {"seeds": seeds})
    assert selection_seeds(asked.definition, 2) == expected


def found(asked=ASKED):
    """An experiment with settings that were found: 0.001 and 0.002."""
    return tuned_experiment(experiment(asked), "digest", [{"train.lr": 1e-3}, {"train.lr": 2e-3}])


def test_each_variant_has_its_own_settings_beside_its_cell():
    made = found()
    assert [each.parts.train.lr for each in made.variants] == [1e-3, 2e-3]
    assert [each.label for each in made.variants] == ["model.n_heads=1", "model.n_heads=2"]
    assert [axis.key for axis in made.axes] == ["model.n_heads"]
    assert made.seeds == (0, 1, 2)
    assert not is_to_tune(made.definition)
    assert is_to_tune(experiment(ASKED).definition)
    assert made.digest != experiment(ASKED).digest


def test_a_definition_with_found_settings_gives_an_equal_experiment(tmp_path):
    made = found()
    assert experiment(made.definition) == made
    (tmp_path / "again.yaml").write_text(definition_yaml(made.definition))
    again = experiment(str(tmp_path / "again.yaml"))
    assert [run.id for run in again.runs] == [run.id for run in made.runs]


def test_a_run_of_a_cell_has_the_found_settings():
    made = found()
    for variant in made.variants:
        for run in variant.runs:
            assert run_of_cell(made.definition, variant.keys, run.seed) == run


def test_found_settings_of_cells_that_are_no_product():
    grid = {"zip": {"model.n_heads": [1, 2], "model.d_model": [8, 16]}}
    made = found(ASKED | {"grid": grid})
    assert [(e.parts.model.d_model, e.parts.train.lr) for e in made.variants] == [
        (8, 1e-3),
        (16, 2e-3),
    ]
    assert experiment(made.definition) == made
    last = made.variants[1]
    assert run_of_cell(made.definition, last.keys, 2) == last.runs[2]


def test_cells_that_are_a_product_in_another_order():
    grid = {"zip": {"model.n_heads": [1, 2, 1, 2], "model.d_model": [8, 8, 16, 16]}}
    asked = experiment(ASKED | {"grid": grid})
    rates = [1e-3, 2e-3, 3e-3, 4e-3]
    made = tuned_experiment(asked, "digest", [{"train.lr": each} for each in rates])
    lrs = {(e.parts.model.n_heads, e.parts.model.d_model): e.parts.train.lr for e in made.variants}
    assert lrs == {(1, 8): 1e-3, (2, 8): 2e-3, (1, 16): 3e-3, (2, 16): 4e-3}
    trials = trial_experiment(asked, [[{"train.lr": each}] for each in rates])
    for variant, (place,) in zip(asked.variants, trials.places, strict=True):
        own = trials.experiment.variants[place]
        assert own.parts.model == variant.parts.model
        assert own.parts.train.lr == lrs[own.parts.model.n_heads, own.parts.model.d_model]


def test_found_settings_are_discarded_when_something_else_is_asked():
    definition = found().definition
    for override in ("train.steps=4", "model.n_heads=1,2,4", "tune.trials=8"):
        assert is_to_tune(experiment(definition, override).definition)
    assert "tuned" not in experiment(definition, "tune=null").definition
    for kept in ("name=other", "seeds=5", "question=why"):
        assert not is_to_tune(experiment(definition, kept).definition)
    wider = definition | {"grid": {"model.n_heads": [1, 2, 4]}}  # a file that was edited
    assert is_to_tune(experiment(wider).definition)


@pytest.mark.parametrize("wrong", [3, {}, {"cells": 3}, {"cells": [3]}, {"cells": [{"cell": {}}]}])
def test_damaged_found_settings_are_said(wrong):
    with pytest.raises(InputError, match="tuned has a wrong value"):
        experiment(ASKED | {"tuned": wrong})


def test_trials_are_an_experiment_of_their_own():
    asked = experiment(ASKED)
    rates = [[{"train.lr": 1e-3}, {"train.lr": 1e-4}], [{"train.lr": 2e-3}, {"train.lr": 2e-3}]]
    made = trial_experiment(asked, rates)
    assert made.experiment.name == "tuned.tuning"
    assert made.experiment.seeds == (1_000_000_000, 1_000_000_001)
    assert len(made.experiment.variants) == 3  # one is repeated
    lrs = [[made.experiment.variants[place].parts.train.lr for place in own] for own in made.places]
    assert lrs == [[1e-3, 1e-4], [2e-3, 2e-3]]
    heads = [
        {made.experiment.variants[place].parts.model.n_heads for place in own}
        for own in made.places
    ]
    assert heads == [{1}, {2}]
    reported = {run.id for run in asked.runs}
    assert reported.isdisjoint(run.id for run in made.experiment.runs)


def test_trials_of_an_experiment_without_a_grid():
    asked = experiment({key: value for key, value in ASKED.items() if key != "grid"})
    made = trial_experiment(asked, [[{"train.lr": 1e-3}, {"train.lr": 1e-4}]])
    assert [each.parts.train.lr for each in made.experiment.variants] == [1e-4, 1e-3]
    assert made.places == [[1, 0]]
    assert cells_of(asked) == [{}]
    tuned = tuned_experiment(asked, "digest", [{"train.lr": 1e-3}])
    assert tuned.variants[0].parts.train.lr == 1e-3
    assert tuned.variants[0].label == "base"


def test_scores():
    inf = float("inf")
    assert score([3.0, 1.0, 2.0]) == 2.0
    assert score([1.0, 2.0]) == 1.5
    assert score([1.0, inf]) == inf
    assert score([1.0, 1.0, inf]) == inf  # one seed that diverged is enough
    assert best_trial([2.0, 1.0, 1.0]) == 1  # the earlier of equal ones
    assert best_trial([inf, inf]) is None
