"""Settings in which variants differ because others do."""

import numpy as np

from ablab.logbook.differing_settings import differing_settings
from ablab.store.metrics import experiment_runs
from tests.read.filled import fill, grid


def flat(keys, seed, steps):
    return np.ones(len(steps))


def told(path, axes, **more):
    store, record = fill(path / "lab", grid(steps=20, seeds=2) | {"grid": axes} | more, flat)
    runs = experiment_runs(store, record)
    return dict(differing_settings(store, runs, record.definition["grid"]))


def test_the_defaults_that_follow_from_the_width_are_told(tmp_path):
    found = told(tmp_path, {"model.d_model": [8, 16]})
    assert found["model.d_mlp"] == "32 (d_model 8); 64 (d_model 16)"
    assert "model.d_model" not in found
    assert "seed" not in found


def test_a_setting_that_a_variant_lacks_is_told(tmp_path):
    found = told(tmp_path, {"train.optimizer": ["adamw", "sgd"]})
    assert found["train.betas"] == "[0.9, 0.999] (adamw); not given (sgd)"
    assert not any(key.startswith("train.optimizer") for key in found)


def test_the_key_that_decides_is_named(tmp_path):
    found = told(tmp_path, {"model.d_model": [8, 16], "train.lr": [0.1, 0.2, 0.3, 0.4]})
    assert found["model.d_mlp"] == "32 (d_model 8); 64 (d_model 16)"


def test_many_variants_are_counted(tmp_path):
    widths = [8, 16, 32, 64]
    found = told(tmp_path, {"model.d_model": widths, "model.n_heads": [1, 2]})
    assert found["model.d_head"].startswith("8 (d_model 8, 1 head and d_model 16, 2 heads); ")


def test_one_variant_differs_from_none(tmp_path):
    assert told(tmp_path, {}) == {}
