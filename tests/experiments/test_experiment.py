import copy
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ablab
from ablab.config import InputError
from ablab.experiments.experiment import experiment

YAML = """
name: tiny
question: Does a tiny experiment run?
task: {kind: addition, n_digits: 2}
model: {kind: transformer, d_model: 8, n_heads: 2}
train:
  steps: 20
  batch_size: 16
  evaluate: {every: 10, samples: 32}
  snapshots: {every: 10}
watch: {every: 5}
grid:
  model.d_model: [8, 16]
seeds: 2
"""


def test_yaml_and_python_give_the_same_object(tmp_path, tiny):
    path = tmp_path / "any-name.yaml"
    path.write_text(YAML)
    assert experiment(path) == experiment(tiny) == experiment(str(path))
    plain = copy.deepcopy(tiny) | {"grid": {}, "seeds": 1}
    assert experiment(plain, "model.d_model=8,16", seeds=2) == experiment(tiny)


def test_an_experiment_is_its_definition(tiny):
    asked = experiment(tiny, "train.schedule=cosine", "model.n_heads=1,2")
    again = experiment(asked.definition)
    assert again == asked
    assert again.digest == asked.digest


def test_numbers_in_yaml_may_be_written_in_any_usual_way(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("task: {kind: addition}\ntrain: {lr: 1e-3, steps: 1_000, eps: 1E-8}\n")
    train = experiment(path).variants[0].parts.train
    assert (train.lr, train.steps, train.eps) == (1e-3, 1000, 1e-8)
    assert experiment(path).name == "x"


def test_the_last_axis_changes_fastest_and_every_variant_sees_the_same_seeds(tiny):
    asked = experiment(tiny, "train.lr=0.1,0.2", "seeds=[4,2]")
    assert [variant.keys for variant in asked.variants] == [
        {"model.d_model": 8, "train.lr": 0.1},
        {"model.d_model": 8, "train.lr": 0.2},
        {"model.d_model": 16, "train.lr": 0.1},
        {"model.d_model": 16, "train.lr": 0.2},
    ]
    assert [[run.seed for run in v.runs] for v in asked.variants] == [[4, 2]] * 4


def test_an_override_takes_the_place_of_a_grids_axis(tiny):
    assert [v.keys for v in experiment(tiny, "model.d_model=4").variants] == [{}]
    found = experiment(tiny, "model.d_model=4,2").variants
    assert [v.parts.model.d_model for v in found] == [4, 2]


def test_an_axis_that_is_overridden_stays_where_it_was(tiny):
    asked = experiment(tiny, "model.n_heads=1,2")
    again = experiment(asked.definition, "model.d_model=4,8")
    assert [axis.key for axis in again.axes] == ["model.d_model", "model.n_heads"]


def test_open_sizes_are_resolved():
    asked = experiment({"name": "x", "task": {"kind": "addition"}}, "model.d_model=24")
    model = asked.variants[0].parts.model
    assert (model.d_head, model.d_mlp) == (6, 96)
    assert asked.variants[0].parts.train.weight_decay == 0.01


LADDER = {
    "name": "ladder",
    "task": {"kind": "addition"},
    "model": {"d_model": 16},
    "grid": {
        "rung": {
            "table": {"model.kind": "bigram", "train.batch_size": 8},
            "block": {"model.n_heads": 2},
        }
    },
}


def test_bundles_are_an_axis_of_settings_that_go_together():
    first, second = experiment(LADDER).variants
    assert first.keys == {"rung": "table"}
    assert first.parts.model.kind == "bigram"
    assert first.parts.train.batch_size == 8
    assert (second.parts.model.n_heads, second.parts.train.batch_size) == (2, 64)


def test_bundles_can_be_chosen_and_overridden():
    (only,) = experiment(LADDER, "rung=block").variants
    assert only.parts.model.n_heads == 2
    both = experiment(LADDER, "train.batch_size=4").variants
    assert [v.parts.train.batch_size for v in both] == [4, 4]


def test_another_kind_keeps_what_both_have():
    base = {"name": "x", "task": {"kind": "addition"}, "model": {"d_model": 8, "init_std": 0.3}}
    assert experiment(base, "model.kind=bigram").variants[0].parts.model.init_std == 0.3


# Ids are a contract: a stored run is found by its id for ever. Change them only with
# NUMERICS_VERSION.
GOLDEN_IDS = {
    (): "36876623a4ce",
    ("model.kind=bigram",): "236cf115b799",
    ("train.optimizer=sgd", "train.momentum=0.9"): "55ae6905f080",
    (
        "train.schedule={kind: cosine, warmup: 10, final: 0.1}",
        "train.clip_norm=1.0",
    ): "85860a6a9aa4",
    ("seeds=[4294967295]",): "174ea1d5bf79",
}


@pytest.mark.parametrize("overrides", GOLDEN_IDS)
def test_ids_never_change(overrides):
    base = {"name": "x", "task": {"kind": "addition"}}
    assert experiment(base, *overrides).runs[0].id == GOLDEN_IDS[overrides]


def first_id(*overrides):
    base = {"name": "x", "task": {"kind": "addition"}}
    return experiment(base, *overrides).runs[0].id


@pytest.mark.parametrize(
    "override",
    [
        "task.n_digits=2",
        "task.target=all",
        "model.d_model=16",
        "model.dropout=0.1",
        "train.lr=0.1",
        "train.optimizer=sgd",
        "train.batch_size=8",
        "train.clip_norm=1.0",
        "train.schedule=cosine",
        "train.precision=float64",
        "train.loss.dtype=float64",
        "seeds=[1]",
        "train.decay=matrices",
        "model.attention.bias=false",
    ],
)
def test_what_shapes_the_run_enters_its_id(override):
    assert first_id(override) != first_id()


@pytest.mark.parametrize(
    "override",
    [
        "name=other",
        "question=why",
        "train.steps=7",
        "watch.every=3",
        "train.evaluate.every=7",
        "train.evaluate.samples=9",
        "train.snapshots.every=3",
        "train.stop={below:0.1}",
        "model.d_head=8",
        "task.target=0",
        "model.attention.bias=true",
        "train.weight_decay=0.01",
        "train.loss.dtype=float32",
        "train.schedule=constant",
        "train.lr=0.001",
    ],
)
def test_what_does_not_shape_the_run_stays_out_of_its_id(override):
    assert first_id(override) == first_id()


def test_a_schedules_total_enters_where_it_has_one():
    assert first_id("train.schedule=cosine", "train.steps=200") != first_id(
        "train.schedule=cosine", "train.steps=300"
    )
    assert first_id("train.schedule=cosine", "train.steps=1000") == first_id(
        "train.schedule={kind:cosine,total:1000}", "train.steps=300"
    )
    assert first_id("train.schedule.warmup=5", "train.steps=200") == first_id(
        "train.schedule.warmup=5", "train.steps=300"
    )


def test_cells_that_are_the_same_run_are_refused():
    with pytest.raises(InputError, match="same run"):
        first_id("train.steps=10,20")


@given(
    st.dictionaries(st.text(max_size=8), st.one_of(st.none(), st.integers(), st.text()), max_size=4)
)
def test_any_mapping_is_an_experiment_or_a_clear_error(data):
    try:
        experiment(data)
    except InputError as error:
        assert error.problems


def test_a_variant_makes_its_model(tiny):
    variant = ablab.experiment(tiny).variants[1]
    model = variant.model(seed=0)
    assert model.embedding.weight.shape == (12, 16)


def test_reading_and_checking_an_experiment_does_not_import_torch():
    code = (
        "import sys, ablab; ablab.experiment('addition', 'model.d_model=8,16'); ablab.recipes();"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_recipes_are_listed_after_a_module_of_one_was_imported():
    code = (
        "import ablab, ablab.recipes.attention_bugs; found = ablab.recipes();"
        "assert 'addition' in found and found['addition'].endswith('?')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_yaml_anchors_and_merge_keys(tmp_path):
    path = tmp_path / "merge.yaml"
    path.write_text(
        "task: {kind: addition}\nmodel: &m {d_model: 8}\n"
        "grid: {rung: {a: {model: {<<: *m, n_heads: 2}}}}\n"
    )
    (variant,) = experiment(path).variants
    assert (variant.parts.model.d_model, variant.parts.model.n_heads) == (8, 2)


@pytest.mark.parametrize("width", [8.0, "8"])
def test_a_width_is_the_same_however_it_is_written(width):
    base = {"name": "x", "task": {"kind": "addition"}, "model": {"d_model": width}}
    assert experiment(base).runs[0].id == first_id("model.d_model=8")


def test_sizes_of_parts_that_are_left_out_shape_nothing():
    assert first_id("model.attention=null", "model.n_heads=1") == first_id(
        "model.attention=null", "model.n_heads=4"
    )


def test_a_mapping_takes_the_place_of_the_axes_that_it_sets(tiny):
    (only,) = experiment(tiny, "model={d_model: 64}").variants
    assert only.parts.model.d_model == 64
    axis = tiny | {"grid": {"model": [{"d_model": 8}, {"d_model": 16}]}}
    with pytest.raises(InputError, match=r"axis model of the grid also sets model\.d_model"):
        experiment(axis, "model.d_model=64")


def test_bundles_named_by_numbers_can_be_chosen(tiny):
    asked = tiny | {"grid": {"width": {8: {"model.d_model": 8}, 16: {"model.d_model": 16}}}}
    (only,) = experiment(asked, "width=16").variants
    assert only.parts.model.d_model == 16


@pytest.mark.parametrize("name", ["seed", "step", "lr", "eval_loss", "_x"])
def test_bundle_axes_leave_the_tables_columns_alone(tiny, name):
    with pytest.raises(InputError, match="name as a column"):
        experiment(tiny | {"grid": {name: {"a": {"model.d_model": 8}}}})
