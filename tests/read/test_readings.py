"""Readings are cached; what was cached never outlives the data that it was made of."""

import json
import math
from dataclasses import replace

import polars as pl
import pytest

from ablab.read import readings
from ablab.read.readings import EDITION, experiment_readings, read_frame
from ablab.store.metrics import append_rows, experiment_metrics
from tests.store.makers import train

COLUMN = "activation/logits/rms"


@pytest.fixture
def stored(tmp_path, tiny):
    done = train(tiny, tmp_path / "lab", "seeds=1", "model.d_model=8")
    return done.store, done.record, done.runs[0]


def add(store, run, values):
    rows = {"run": [run] * len(values), "step": list(values), COLUMN: list(values.values())}
    append_rows(store, pl.DataFrame(rows))


def fresh(store, record):
    frame = experiment_metrics(store, record, [COLUMN])
    return read_frame(frame, COLUMN, record.levels)


def test_rows_that_a_replay_adds_are_read(stored):
    store, record, run = stored
    add(store, run.run, dict.fromkeys(range(1, 11), 1.0))
    before = experiment_readings(store, record, [run], COLUMN)
    assert before == fresh(store, record)
    add(store, run.run, {step: 9.0 - step / 10 for step in range(11, 21)})
    after = experiment_readings(store, record, [run], COLUMN)
    assert after != before
    assert after == fresh(store, record)


def test_the_same_data_are_read_once(stored, monkeypatch):
    store, record, run = stored
    first = experiment_readings(store, record, [run])
    monkeypatch.setattr(readings, "read_frame", None)
    assert experiment_readings(store, record, [run]) == first


def test_readings_cached_by_earlier_releases_or_damaged_are_not_used(stored):
    store, record, run = stored
    right = experiment_readings(store, record, [run])
    (row,) = store.index.rows("SELECT edition, reading FROM readings")
    other = json.dumps(json.loads(row["reading"]) | {"last": -1.0})
    for edition in (EDITION, row["edition"]):
        with store.index.transaction() as connection:
            connection.execute("UPDATE readings SET edition = ?, reading = ?", (edition, other))
        assert experiment_readings(store, record, [run]) == right


def test_a_reading_that_json_cannot_hold_is_not_cached(stored, monkeypatch):
    """An index with NaN is damaged, and no store has one because of a curve."""
    store, record, run = stored
    right = readings.read_frame

    def with_nan(*args, **more):
        return {key: replace(each, noise=math.nan) for key, each in right(*args, **more).items()}

    monkeypatch.setattr(readings, "read_frame", with_nan)
    assert math.isnan(experiment_readings(store, record, [run])[run.run].noise)
    assert not store.index.rows("SELECT * FROM readings")
    assert store.index.damage() == []
    monkeypatch.setattr(readings, "read_frame", right)
    assert experiment_readings(store, record, [run])[run.run].noise >= 0
    assert len(store.index.rows("SELECT * FROM readings")) == 1


def test_a_reading_for_other_levels_is_not_used(stored):
    store, record, run = stored
    floor = experiment_readings(store, record, [run])[run.run].floor
    other = replace(record, levels={"mine": floor.level})
    found = experiment_readings(store, other, [run])
    frame = experiment_metrics(store, record, ["train_loss"])
    assert found == read_frame(frame, "train_loss", other.levels)
