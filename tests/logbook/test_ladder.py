"""A ladder of variants, each compared with the one before it, on made-up final losses."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from ablab.logbook.conclusions import find
from ablab.logbook.entry import entry_content, write_entry
from ablab.logbook.ladder import ladder_labels
from ablab.store.metrics import experiment_runs
from tests.read.filled import fill

# The final loss of each rung, of which the third equals the second.
LEVELS = {"1 table": 3.0, "2 head": 2.0, "3 same": 2.0, "5 worse": 2.5}


def ladder(**more):
    return {
        "name": "ladder",
        "question": "What does each part gain?",
        "task": {"kind": "addition"},
        "train": {"steps": 60},
        "grid": {
            "part": {label: {"train.lr": 1e-3 * (place + 1)} for place, label in enumerate(LEVELS)}
        },
        "seeds": 4,
        "answer": "final(loss)",
        **more,
    }


def curve(keys, seed, steps):
    """A constant loss with a little noise that differs between seeds."""
    noise = np.random.default_rng([seed, len(keys["part"]), ord(keys["part"][0])])
    return LEVELS[keys["part"]] + 0.01 * noise.standard_normal() + 0 * steps


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    store, record = fill(tmp_path_factory.mktemp("ladder") / "lab", ladder(), curve)
    return store, record, find(store, record, experiment_runs(store, record)).answer


def test_each_step_is_compared_with_the_one_before(found):
    steps = found[2].ladder.steps
    assert [(each.reference, each.value) for each in steps] == [
        ("1 table", "2 head"), ("2 head", "3 same"), ("3 same", "5 worse")
    ]  # fmt: skip
    assert [each.difference for each in steps] == pytest.approx([-1.0, 0.0, 0.5], abs=0.03)
    assert [each.verdict for each in steps] == ["differs", "undecided", "differs"]
    # Holm's correction for three tests: the smallest p is tripled, and none is below that.
    assert min(each.p_adjusted for each in steps) == pytest.approx(3 * min(e.p for e in steps))


def test_the_first_sentence_is_about_the_steps(found):
    first, lead = found[2].sentences[:2]
    assert first.startswith("Final training loss, each step against the one before: lowered by ")
    assert "lowered by 2 head (" in first
    assert "raised by 5 worse (0." in first
    assert "undecided for 3 same" in first
    # Two rungs are alike, so that none is the lowest.
    assert "lowest with" not in lead
    apart = r"Not decided which is lowest: 2 of 4 variants are not told apart: (2 head|3 same) and "
    assert re.search(apart, lead)
    # The interval of an undecided step is said, and includes no difference.
    low, high = re.search(r"undecided for 3 same \(-?0\.\d+ \[(.+?), (.+?)\]", first).groups()
    assert float(low) < 0 < float(high)


def test_the_table_has_the_first_rung_beside_the_previous(found):
    rows = found[2].ladder.rows
    assert [row[:2] for row in rows] == [
        ["2 head", "1 table"], ["3 same", "2 head"], ["5 worse", "3 same"]
    ]  # fmt: skip
    assert [row[-2] for row in rows] == ["lower", "undecided", "higher"]
    assert float(rows[2][-1]) == pytest.approx(-0.5, abs=0.03)


def test_the_page_has_the_table(found):
    store, record, _ = found
    content = entry_content(store, record)
    assert content["findings"].answer.ladder.key == "part"
    entry = write_entry(store, record)
    for text in (entry.page.read_text(), (entry.folder / "entry.md").read_text()):
        assert "Step by step: the final training loss" in text


@pytest.mark.parametrize(
    "labels",
    [["a", "b", "c"], ["8", "16", "32"], ["2 head", "1 table", "3 same"], ["1 a", "1 b", "2 c"],
     ["1 table", "2 head"]],
)  # fmt: skip
def test_other_bundles_are_no_ladder(labels):
    definition = {"grid": {"part": {label: {} for label in labels}}}
    assert ladder_labels(SimpleNamespace(definition=definition)) == []


def test_a_rung_with_far_more_steps_is_compared_with_a_caveat(tmp_path):
    asked = ladder()
    asked["grid"]["part"]["1 table"]["train.steps"] = 320
    store, record = fill(tmp_path / "lab", asked, curve)
    found = find(store, record, experiment_runs(store, record))
    words = "difference: 1 table (320 steps, 5.33 times as many)."
    assert found.answer.sentences[1].endswith(words)
    assert found.effects[0].longer.endswith(words)


def test_a_count_of_diverged_runs_is_no_lower_level(tmp_path):
    """All but one of eight runs of the third rung diverge; the loss of that one is lower."""

    def diverging(keys, seed, steps):
        if keys["part"] != "3 same":
            return curve(keys, seed, steps)
        return None if seed else 0.1 + 0 * steps

    store, record = fill(tmp_path / "lab", ladder() | {"seeds": 8}, diverging)
    told = find(store, record, experiment_runs(store, record)).answer.ladder
    assert told.rows[1][-2] == "undecided"
    assert "lowered by 2 head (" in told.sentences()[0]
    assert "undecided for 3 same and 5 worse (" in told.sentences()[0]  # one run has no test


def test_a_rung_with_far_fewer_steps_is_not_compared(tmp_path):
    asked = ladder()
    asked["grid"]["part"]["5 worse"]["train.steps"] = 8
    store, record = fill(tmp_path / "lab", asked, curve)
    answer = find(store, record, experiment_runs(store, record)).answer
    assert [each.value for each in answer.ladder.steps] == ["2 head", "3 same"]
    assert answer.sentences[1] == (
        "Not compared, since trained for far fewer steps: 5 worse (8 steps)."
    )
    assert "5 worse" not in answer.sentences[2]
    content = entry_content(store, record)
    (row,) = [row for row in content["result"].rows if row[0].value == "5 worse"]
    assert row[1].count == "after only 8 steps"
    assert "Trained for far fewer steps than the others: 5 worse (8 steps)." in (
        content["key_figure"].caption
    )
    table = content["effect_tables"][0]
    assert [row[1] for row in table.factorial] == ["2 head", "3 same"]
    assert table.caveat == answer.sentences[1]
    assert not any("5 worse" in each for each in content["findings"].sentences)


def test_a_step_has_the_p_value_of_the_table_of_effects(tmp_path):
    """Of an accuracy near 1, whose interval stays below 1."""

    def accuracies(keys, seed, steps):
        right = {"1 table": 0.9, "2 head": 0.995, "3 same": 0.995, "5 worse": 0.97}[keys["part"]]
        noise = np.random.default_rng([seed, ord(keys["part"][0])]).exponential()
        return {"train_loss": np.ones(len(steps)), "eval_accuracy": 1 - (1 - right) * noise
                + 0 * steps}  # fmt: skip

    store, record = fill(tmp_path / "lab", ladder(answer="final(accuracy)"), accuracies)
    found = find(store, record, experiment_runs(store, record))
    assert found.answer.ladder.steps[0].p == pytest.approx(found.effects[0].factorial[0].p)


@pytest.mark.parametrize(
    ("never", "told"),
    [
        ("2 head", "lowered by 3 same and 5 worse (1"),
        ("5 worse", ", 3 same (4) and 5 worse (tests "),
    ],
)
def test_a_decided_step_without_a_number_is_told(tmp_path, never, told):
    """No run of one rung falls to 0.5; ranks show that this is later than the runs of others."""

    def falling(keys, seed, steps):
        at = {"1 table": 18, "2 head": 20, "3 same": 24, "5 worse": 12}[keys["part"]] + seed / 4
        return np.where(steps >= (10**6 if keys["part"] == never else at), 0.1, 2.0)

    store, record = fill(tmp_path / "lab", ladder(answer="steps_to(loss, 0.5)", seeds=8), falling)
    found = find(store, record, experiment_runs(store, record)).answer.ladder
    assert all(each.verdict == "differs" for each in found.steps)
    said = found.sentences()[0]
    assert told in said, said
    for label in ("2 head", "3 same", "5 worse"):
        assert said.count(label) == 1
