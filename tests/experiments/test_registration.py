"""What reading needs is recorded when an experiment is registered."""

import math
import sys
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

import ablab
from ablab.experiments.registration import Registration, derived_base, register
from ablab.read.effects.stored import experiment_effects
from ablab.read.readings import experiment_readings
from ablab.store import Store
from ablab.store.metrics import experiment_runs
from tests.read.filled import fill, grid, leaving

BASE = {
    "name": "base",
    "task": {"kind": "addition", "n_digits": 2},
    "model": {"kind": "transformer", "d_model": 8, "n_heads": 2},
    "train": {"steps": 20, "batch_size": 16},
}
MINE = {"kind": "mine:Model", "width": 8}


def base(grid, **parts):
    return register(ablab.experiment(BASE | {"grid": grid} | parts)).base


def test_the_base_has_defaults_of_the_whole_configuration():
    assert base({"model.d_model": [4, 8], "train.weight_decay": [1.0, 0.01]}) == {
        "model.d_model": 8,
        "train.weight_decay": 0.01,  # a default of the optimizer
    }
    assert base({"train.betas": [[0.9, 0.95], [0.9, 0.999]]}) == {"train.betas": [0.9, 0.999]}
    # Not a value of the axis, and still the base.
    assert base({"model.d_model": [4, 16]}) == {"model.d_model": 8}
    assert base({"how": {"wide": {"model.d_model": 32}, "plain": {"model.bias": False}}}) in (
        {"how": "plain"}, {},
    )  # fmt: skip


def test_each_task_has_its_levels_and_directions():
    two = register(ablab.experiment(BASE | {"grid": {"task.base": [10, 16]}}))
    assert [two.task(place).levels for place in (0, 1)] == [
        {"log(10)": math.log(10), **two.tasks[0].levels},
        {"log(16)": math.log(16), **two.tasks[1].levels},
    ]
    assert two.task(2) is None
    one = register(ablab.experiment(BASE | {"grid": {"model.d_model": [8, 16]}}))
    assert len(one.tasks) == 1
    assert one.task(1) == one.tasks[0]
    assert one.tasks[0].directions == {
        "loss": "lower", "accuracy": "higher", "sequence_accuracy": "higher",
    }  # fmt: skip
    columns = {
        "train_loss": (0, None), "eval_loss/digit_1": (0, None), "eval_accuracy/digit_1": (0, 1),
        "eval_probability/digit_2/other": (0, 1), "eval_other": None, "grad_norm": None,
        "activation/embed/rms": (0, None), "activation/embed/frac_zero": (0, 1),
        "activation/embed/mean": None,
    }  # fmt: skip
    assert {name: one.limits_of(name) for name in columns} == columns
    assert Registration.model_validate_json(one.model_dump_json()) == one


def test_a_text_has_its_vocabulary(tmp_path):
    (tmp_path / "words.txt").write_text("to be or not to be\n" * 40)
    task = {"kind": "text", "corpus": str(tmp_path / "words.txt"), "seq_len": 4}
    characters = register(ablab.experiment(BASE | {"task": task})).tasks[0].vocabulary
    assert characters == {"characters": "".join(sorted(set("to be or not to be\n")))}
    subwords = task | {"tokenizer": "bpe", "bpe_size": 257}
    known = register(ablab.experiment(BASE | {"task": subwords})).tasks[0].vocabulary
    assert known is not None
    assert list(known) == ["tokenizer_sha256"]


def test_a_later_release_can_record_more():
    text = '{"base": {}, "tasks": [{"levels": {}, "more": 1}], "more": []}'
    assert Registration.model_validate_json(text).tasks[0].directions == {}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({}, {"model.d_model": 8, "model.n_layers": 1, "train.weight_decay": 0.01}),
        # Defaults of a part whose components are not ablab's cannot be known.
        ({"model": MINE | {"d_model": 8}}, {"model.d_model": 8, "train.weight_decay": 0.01}),
        (
            {"model": BASE["model"] | {"attention": {"qk_norm": "mine:norm"}}},
            {"model.d_model": 8, "train.weight_decay": 0.01},
        ),
        ({"train": {"optimizer": "mine:Optimizer"}}, {"model.d_model": 8, "model.n_layers": 1}),
        (
            {"train": {"optimizer": {"kind": "mine:Optimizer"}}},
            {"model.d_model": 8, "model.n_layers": 1},
        ),
        ({"task": "mine:Task"}, {"model.d_model": 8, "model.n_layers": 1,
                                 "train.weight_decay": 0.01}),
    ],
)  # fmt: skip
def test_without_a_record_the_base_is_what_is_plain_data(parts, expected, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("raise RuntimeError")
    monkeypatch.chdir(tmp_path)
    asked = mock.Mock(side_effect=AssertionError)
    finder = mock.Mock(find_spec=lambda name, *_: asked() if name == "mine" else None)
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    axes = {"model.d_model": [8, 16], "model.n_layers": [1, 2], "train.weight_decay": [0.01, 1.0]}
    definition = BASE | {"grid": axes} | parts
    assert derived_base(definition) == expected
    asked.assert_not_called()


def test_a_store_of_an_earlier_release_gets_its_record_when_it_is_asked_for_again(tmp_path):
    asked = ablab.experiment(BASE | {"grid": {"model.d_model": [16, 8]}})
    store = Store(tmp_path / "lab", create=True)
    store.register(asked, "", {})
    with store.index.transaction() as connection:
        connection.execute("DELETE FROM registrations")
        connection.execute("DROP TABLE registrations")
    store.close()
    store = Store(tmp_path / "lab")
    assert store.experiment("base").registration is None
    assert store.register(asked, "", {}).registration == register(asked)
    assert store.experiment("base").registration == register(asked)


def test_the_base_is_the_registered_one(tmp_path):
    """A default can change between releases; the runs were trained with the old one."""
    axis = {"grid": {"model.n_heads": [2, 1]}, "model": {"n_heads": 1}}
    asked = grid(steps=20, seeds=2) | axis
    store, record = fill(tmp_path / "lab", asked, lambda keys, seed, steps: 1.0 / steps)
    assert experiment_effects(store, record).base == {"model.n_heads": 1}
    known = record.registration.model_copy(update={"base": {"model.n_heads": 2}})
    changed = replace(record, registration=known)
    assert experiment_effects(store, changed).base == {"model.n_heads": 2}
    older = replace(record, registration=None)
    assert experiment_effects(store, older).base == {"model.n_heads": 1}
    unknown = replace(older, definition=record.definition | {"model": {"kind": "mine:Model"}})
    found = experiment_effects(store, unknown)
    assert (found.base, list(found.first)) == ({"model.n_heads": 2}, ["model.n_heads"])


def test_a_reading_uses_the_levels_of_its_own_task(tmp_path):
    """Each of two tasks stays at its own level, which an earlier release named by the first."""
    asked = grid(steps=600, seeds=1) | {"grid": {"task.base": [10, 16]}}

    def stays(keys, seed, steps):
        level = math.log(keys["task.base"])
        return leaving(np.random.default_rng(seed), steps, at=300, level=level)

    store, record = fill(tmp_path / "lab", asked, stays)
    runs = experiment_runs(store, record)
    for _ in range(2):  # the second time from the cache
        found = experiment_readings(store, record, runs)
        names = [[each.name for each in found[run.run].plateaus] for run in runs]
        assert names == [["log(10)"], ["log(16)"]]


def test_a_users_reducer_declares_which_values_are_better():
    own = ("sureness", "largest")
    watched = [f"activation/logits/tests.watching.my_reducers:{name}" for name in own]
    known = register(ablab.experiment(BASE | {"watch": {"statistics": watched}}))
    assert known.statistics == {"tests.watching.my_reducers:sureness": "higher"}
    assert [known.direction_of(name) for name in watched] == ["higher", None]
    assert [known.limits_of(name) for name in watched] == [(0, 1), None]
    assert Registration.model_validate_json(known.model_dump_json()) == known
