"""Settings mean the same however they are written, and errors speak of what was written."""

import itertools

import pytest

import ablab
from ablab.config import InputError

BASE = {
    "name": "meant",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"kind": "transformer", "d_model": 8, "n_heads": 2},
    "train": {"steps": 400},
}


def trained(*overrides, **more):
    return [run.train for run in ablab.experiment({**BASE, **more}, *overrides).runs]


def said(*overrides, **more):
    with pytest.raises(InputError) as raised:
        ablab.experiment({**BASE, **more}, *overrides)
    return str(raised.value), raised.value.problems


@pytest.mark.parametrize(
    "overrides",
    list(itertools.permutations(["train.schedule=cosine", "train.schedule.warmup=100"])),
)
def test_a_name_and_what_is_set_in_it_mean_the_same_in_any_order(overrides):
    (found,) = trained(*overrides)
    assert (found.schedule.kind, found.schedule.warmup) == ("cosine", 100)


def test_axes_of_a_name_and_of_what_is_set_in_it_have_any_order():
    kinds, warmups = ("train.schedule", ["linear", "cosine"]), ("train.schedule.warmup", [0, 100])
    one, other = (
        {(each.schedule.kind, each.schedule.warmup) for each in trained(grid=dict(axes))}
        for axes in ((kinds, warmups), (warmups, kinds))
    )
    assert one == other == set(itertools.product(("linear", "cosine"), (0, 100)))


def test_an_argument_replaces_what_the_file_tunes_as_an_override_does():
    tree = BASE | {"tune": {"over": {"train.lr": "loguniform(1e-3, 1)"}, "trials": 8}}
    wanted = {"over": {"train.weight_decay": "uniform(0,0.1)"}}
    by_argument = ablab.experiment(tree, tune=wanted).definition["tune"]
    text = "tune={over: {train.weight_decay: 'uniform(0,0.1)'}}"
    assert by_argument == ablab.experiment(tree, text).definition["tune"]
    assert list(by_argument["over"]) == ["train.weight_decay"]


def test_one_setting_of_seeds_and_of_tuning_can_be_overridden():
    tree = BASE | {"seeds": {"from": 3, "to": 40}}
    assert ablab.experiment(tree, "seeds.to=60").definition["seeds"]["to"] == 60
    tree = BASE | {"tune": {"over": {"train.lr": "loguniform(1e-3, 1)"}, "trials": 8}}
    found = ablab.experiment(tree, "tune.over.train.lr='loguniform(1e-5,1e-2)'").definition["tune"]
    assert list(found["over"]) == ["train.lr"]
    assert "1e-05" in str(found["over"]["train.lr"])


def test_a_bound_needs_to_exist_only_where_the_expectation_is_about():
    axes = {"task.kind": ["modular", "addition"]}
    text = "mean(eval_loss, 100, 300) is above log(task.p) where task.kind=modular"
    task = {"kind": "modular", "p": 7}
    assert len(ablab.experiment(BASE | {"task": task, "grid": axes, "expect": [text]}).runs) == 2
    message, _ = said(task=task, grid=axes, expect=[text.replace(" where task.kind=modular", "")])
    assert "task.p is not a setting of these runs" in message


@pytest.mark.parametrize(
    ("more", "key", "expected"),
    [
        ({"watch": {"every": 0}}, "watch.every", "greater than or equal to 1, or one of log"),
        ({"model": BASE["model"] | {"mlp": "none"}}, "model.mlp", "a mapping of settings"),
        ({"train": {"steps": 5, "evaluate": 100}}, "train.evaluate", "a mapping of settings"),
    ],
)
def test_a_wrong_value_is_one_problem_of_its_own_key(more, key, expected):
    message, problems = said(**more)
    assert [each.key for each in problems] == [key]
    assert f"{key} has a wrong value" in message
    assert f"expected  {expected}" in message


def test_numbers_may_be_written_as_text():
    (found,) = trained(train={"epochs": "3", "batch_size": "10"}, task={"kind": "modular", "p": 7})
    (plain,) = trained(train={"epochs": 3, "batch_size": 10}, task={"kind": "modular", "p": 7})
    assert found.steps == plain.steps and found.batch_size == 10


def test_a_sentence_that_is_wrong_is_named_by_its_place(tmp_path):
    path = tmp_path / "asked.yaml"
    path.write_text(
        "name: x\ntask: {kind: copy}\nexpect:\n  - final(loss) is lowr where a=1 than where a=2\n"
    )
    with pytest.raises(InputError) as raised:
        ablab.experiment(str(path))
    assert "asked.yaml" in str(raised.value)


def test_a_mean_goes_forward():
    message, _ = said(expect=["mean(eval_loss, 300, 100) is below 1"])
    assert "the first number is greater than the second" in message


@pytest.mark.parametrize(
    ("settings", "key", "names", "kept"),
    [
        ({"schedule": {"kind": "linear", "warmup": 100}}, "schedule", ["linear", "cosine"],
         {"warmup": 100}),
        ({"loss": {"dtype": "float64"}}, "loss", ["cross_entropy", "stablemax"],
         {"dtype": "float64"}),
    ],
)  # fmt: skip
def test_an_axis_of_names_keeps_the_other_settings(settings, key, names, kept):
    found = trained(train=BASE["train"] | settings, grid={f"train.{key}": names})
    assert [getattr(each, key).kind for each in found] == names
    for each in found:
        assert {name: getattr(getattr(each, key), name) for name in kept} == kept
    (one,) = trained(f"train.{key}={names[1]}", train=BASE["train"] | settings)
    (same,) = trained(f"train.{key}.kind={names[1]}", train=BASE["train"] | settings)
    assert one == same


def test_a_name_leaves_the_axis_of_another_setting():
    overrides = ("train.schedule=cosine", "train.schedule={kind: cosine}")
    for override in overrides:
        found = trained(override, grid={"train.schedule.warmup": [0, 100]})
        assert [(each.schedule.kind, each.schedule.warmup) for each in found] == [
            ("cosine", 0), ("cosine", 100),
        ]  # fmt: skip


def test_an_axis_of_optimizers_keeps_the_settings_of_its_own():
    optimizer = {"kind": "torch.optim:Adagrad", "lr_decay": 0.5}
    made = trained(
        train=BASE["train"] | {"optimizer": optimizer},
        grid={"train.optimizer": ["torch.optim:Adagrad", "adamw"]},
    )
    assert (made[0].optimizer["lr_decay"], made[1].optimizer) == (0.5, "adamw")
