"""Damaged data are not taken for data that were never logged: what needs them is refused."""

import shutil
from dataclasses import replace

import pytest

from ablab.logbook.entry import entry_content
from ablab.logbook.statistic_sections import incidents
from ablab.read.curves.reading import Spike
from ablab.read.effects.stored import experiment_effects
from ablab.read.readings import experiment_readings
from ablab.read.spikes import explain
from ablab.read.verdicts import verdicts
from ablab.store import Store, StoreError
from ablab.store.artifacts import list_artifacts
from tests.store.makers import WILD, flip, train


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    lab = tmp_path_factory.mktemp("damaged") / "lab"
    asked = WILD | {
        "grid": {"train.momentum": [0.4, 0.5]},
        "expect": [{"measure": "final(eval_loss)", "falls_with": "train.momentum"}],
        "watch": {"captures": {"what": "logits", "samples": 2, "steps": [0, 20]}},
    }
    train(asked, lab, "train.steps=40").store.close()
    return lab


@pytest.fixture
def lab(made, tmp_path):
    shutil.copytree(made, tmp_path / "lab")
    return tmp_path / "lab"


def test_damaged_metrics_give_no_verdict_and_no_effect(lab):
    store = Store(lab)
    (record,) = store.experiments()
    (before,) = verdicts(store, record)
    assert before.evidence
    flip(next((lab / "metrics").iterdir()), 0.5)
    for ask in (verdicts, experiment_effects, entry_content):
        with pytest.raises(StoreError, match="damaged"):
            ask(store, record)


def watched_titles(content):
    return [each.title for variant in content["watched"] for each in variant.figures]


def test_an_entry_says_which_captures_and_records_are_damaged(lab):
    store = Store(lab)
    (record,) = store.experiments()
    runs = store.runs(record)
    sound = entry_content(store, record)
    assert not any(each["damaged"] for each in sound["incidents"])
    assert not any("damaged" in title for title in watched_titles(sound))
    flip(lab / "captures" / runs[0].run / "20.safetensors", 0.9)
    record_of = min((lab / "flights").rglob("*.parquet"))
    flip(record_of, 0.5)
    found = entry_content(store, record)
    (title,) = [title for title in watched_titles(found) if "damaged" in title]
    assert f"run {runs[0].run} after step 20" in title
    (incident,) = [each for each in incidents(store, runs) if each["damaged"]]
    assert incident["run"] == record_of.parent.name
    assert "its record is damaged" in incident["reason"]


def test_an_explanation_says_that_a_record_is_damaged(lab):
    store = Store(lab)
    path = min((lab / "flights").rglob("*.parquet"))
    run, step = path.parent.name, int(path.stem)
    assert [each.step for each in list_artifacts(store, "flight", run)]

    (record,) = store.experiments()
    (row,) = (each for each in store.runs(record) if each.run == run)
    reading = experiment_readings(store, record, [row])[run]
    spike = Spike(step, 2.0, 1, 0.9)
    spiked = replace(reading, spikes=(spike,))
    before = explain(store, record, row, spiked)
    assert (before.source, before.damaged) == ("flight recorder", False)
    flip(path, 0.5)
    after = explain(store, record, row, spiked)
    assert after.source != "flight recorder"
    assert "a flight record is damaged" in after.sentence
