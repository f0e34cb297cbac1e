import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ablab.read import spikes
from ablab.read.readings import experiment_readings
from ablab.read.spikes import CONFIDENT, MARGIN, ZERO_SUM, explain
from ablab.store.metrics import experiment_runs
from tests.read.filled import fill, grid

STEPS = 400


def spiky(columns):
    def curve(keys, seed, steps):
        rng = np.random.default_rng(seed)
        loss = 0.1 * np.exp(0.02 * rng.standard_normal(len(steps)))
        loss[299:] *= np.exp(3 * np.exp(-(steps[299:] - 300) / 6))
        return {"train_loss": loss} | columns(rng, steps)

    return curve


def explained(path, columns):
    asked = grid(steps=STEPS, seeds=1) | {"grid": {"model.d_model": [8]}}
    store, record = fill(path, asked, spiky(columns))
    (run,) = experiment_runs(store, record)
    return explain(store, record, run, experiment_readings(store, record, [run])[run.run])


def test_what_moved_first(tmp_path):
    def columns(rng, steps):
        calm = 1 + 0.01 * rng.standard_normal((2, len(steps)))
        calm[0, 289:] *= 3
        calm[1, 295:] *= 3
        lost = np.where(steps >= 280, 0.25, 0.0)
        return {
            "optimizer/a/exp_avg_sq/rms": calm[0],
            "grad/a/rms": calm[1],
            ZERO_SUM: lost,
            MARGIN: np.full(len(steps), 7.0),
            CONFIDENT: np.full(len(steps), 0.5),
        }

    found = explained(tmp_path / "lab", columns)
    assert found.source == "watched columns"
    assert found.spike.step == 300
    names = [(each.name, each.step) for each in found.moved]
    assert names.index(("optimizer/a/exp_avg_sq/rms", 290)) < names.index(("grad/a/rms", 296))
    assert (found.zero_sum_error, found.zero_sum_step) == (0.25, 280)
    assert (found.margin, found.full_confidence) == (7.0, 0.5)
    assert found.suggestion == "train.loss.dtype=float32,float64"
    assert "did not sum to zero in up to 25.0% of predictions, from 280 on" in found.sentence
    assert (
        f"; of the recorded statistics, {ZERO_SUM} was the first to leave its usual range, at 280 "
        "(usually 0, 0.25 at 300); logit margin 7;"
    ) in found.sentence
    assert found.command.startswith(
        "ablab run made-up model.d_model=8 'seeds=[0]' train.loss.dtype="
    )


def test_what_was_lost_before_the_others_moved_is_not_contradicted(tmp_path):
    """Gradients sum to something already in the steps that are the usual range, from 250 on."""

    def columns(rng, steps):
        calm = 1 + 0.0001 * rng.standard_normal(len(steps))
        calm[289:] = 3
        return {"grad/a/rms": calm, ZERO_SUM: np.where(steps >= 250, 0.1, 0.0)}

    assert (
        "in up to 10.0% of predictions, from 250 on; of the other recorded statistics, grad/a/rms "
        "was the first to leave its usual range, at 290 (usually 1, 3 at 300)"
    ) in explained(tmp_path / "lab", columns).sentence


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("optimizer/a/exp_avg_sq/rms", "train.eps=1e-8,1e-6"),
        ("grad/a/rms", "train.clip_norm=null,1.0"),
        ("activation/logits/rms", "train.loss.kind=cross_entropy,stablemax"),
    ],
)
def test_the_suggestion_follows_what_moved(tmp_path, name, suggestion):
    def columns(rng, steps):
        moved = 1 + 0.01 * rng.standard_normal(len(steps))
        moved[290:] *= 4
        return {name: moved}

    assert explained(tmp_path / "lab", columns).suggestion == suggestion


def test_nothing_was_watched(tmp_path):
    found = explained(tmp_path / "lab", lambda rng, steps: {})
    assert found.source is None
    assert found.moved == ()
    assert "no flight record of it, and no statistics that were watched at every" in found.sentence
    assert "ablab replay" in found.sentence
    assert f"--steps {found.span[0]}:{found.span[1]}" in found.sentence


def test_the_command_sets_what_it_tries_once():
    record = SimpleNamespace(
        name="g", entry=None, command="ablab run g train.loss.dtype=float32 model.d_model=8",
        definition={"grid": {"train.loss.dtype": ["float32", "float64"], "train.lr": [0.1, 0.2]}},
    )  # fmt: skip
    run = SimpleNamespace(variant={"train.loss.dtype": "float32", "train.lr": 0.1}, seed=3)
    command = spikes._command(None, record, run, "train.loss.dtype=float32,float64")
    assert command.count("train.loss.dtype=") == 1
    assert "train.lr=0.1" in command and "model.d_model=8" in command and "seeds=[3]" in command


def test_the_command_starts_from_the_definition_of_the_entry():
    """It has every setting that was given, in whatever order or language; tuned ones are told."""
    record = SimpleNamespace(
        name="g", entry="2026-01-01-g", command="ablab run --device cpu g.yaml model.n_heads=2",
        definition={
            "grid": {"model.d_model": [8, 16]}, "halving": {}, "tune": {"over": {"train.lr": ""}},
            "tuned": {"by": "x", "cells": [
                {"cell": {"model.d_model": 8}, "settings": {"train.lr": 0.1}},
                {"cell": {"model.d_model": 16}, "settings": {"train.lr": 0.3}},
            ]},
        },
    )  # fmt: skip
    run = SimpleNamespace(variant={"model.d_model": 16}, seed=3)
    store = SimpleNamespace(path=Path("somewhere/lab"))
    words = shlex.split(spikes._command(store, record, run, "train.eps=1e-8,1e-6"))
    assert words == [
        "ablab", "run", "lab/logbook/2026-01-01-g/experiment.yaml", "model.d_model=16",
        "train.lr=0.3", "halving=null", "tune=null", "seeds=[3]", "train.eps=1e-8,1e-6",
        "name=g-spikes", "--store", "lab",
    ]  # fmt: skip
