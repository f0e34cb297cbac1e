"""The sums in the index are those of the runs, whatever is written, and wrong ones are noticed."""

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

import ablab
from ablab.store import Store, StoreError
from ablab.store.index_repair import repair_index
from ablab.store.leases import Owner
from ablab.store.sums import Sums, experiment_sums, shared_runs, sums_key, total_sums
from ablab.store.sums_sql import wrong_sums
from tests.read.filled import grid

STATES = [
    ("planned", 0, None),
    ("interrupted", 7, None),
    ("finished", 20, None),
    ("finished", 90, None),
    ("diverged", 5, "diverged"),
    ("finished", 90, "diverged"),
    ("failed", 3, "failed"),
]


@pytest.fixture
def lab(tmp_path):
    """Two experiments, of which the second has the runs of the first and asks for more steps."""
    store = Store(tmp_path / "lab", create=True)
    for asked in (grid(steps=20, seeds=4), grid(steps=30, seeds=5) | {"name": "further"}):
        store.register(ablab.experiment(asked), "ablab run x", {})
    return store


def statuses(runs):
    return Counter(each.status for each in runs)


def check(store):
    """Compares the sums with the records of the runs, one by one."""
    sums = experiment_sums(store.index)
    for record in store.experiments():
        runs = store.runs(record)
        mine = sums.get(record.id, Sums())
        assert mine.statuses == statuses(runs)
        assert mine.steps == sum(each.steps for each in runs)
        live = ("running", "planned", "interrupted")
        done = sum(each.step if each.status in live else each.steps for each in runs)
        assert mine.done == done
    total = total_sums(store.index)
    assert total.statuses == statuses(store.runs())
    assert (total.runs, total.steps) == (len(store.runs()), sum(e.steps for e in store.runs()))
    with store.index.transaction() as connection:
        assert list(wrong_sums(connection)) == []


def set_states(store):
    with store.index.transaction() as connection:
        for number, run in enumerate(store.runs()):
            _, step, outcome = STATES[number % len(STATES)]
            connection.execute(
                "UPDATE runs SET step = ?, outcome = ? WHERE id = ?", (step, outcome, run.run)
            )


def test_runs_of_several_experiments_are_known_without_a_look_at_every_run(lab):
    def shared():
        rows = lab.index.rows("SELECT runs FROM sums WHERE state = 'shared'")
        return rows[0]["runs"] if rows else 0

    both = len(shared_runs(lab.index))
    assert shared() == both > 1
    with lab.index.transaction() as connection:
        connection.execute("DELETE FROM members WHERE experiment = 1 AND position = 0")
    assert shared() == len(shared_runs(lab.index)) == both - 1
    with lab.index.transaction() as connection:
        connection.execute("DELETE FROM members WHERE experiment = 2")
    assert (shared(), shared_runs(lab.index)) == (0, [])
    check(lab)


def test_new_experiments_are_planned(lab):
    check(lab)
    assert total_sums(lab.index).statuses == {"planned": len(lab.runs())}
    assert len(shared_runs(lab.index)) == len(lab.runs(lab.experiments()[0]))


def test_sums_follow_every_outcome(lab):
    set_states(lab)
    check(lab)
    assert set(total_sums(lab.index).statuses) == {each for each, _, _ in STATES}
    key = sums_key(lab.index)
    with lab.index.transaction() as connection:
        connection.execute("UPDATE runs SET step = 3, outcome = NULL WHERE outcome = 'failed'")
    assert sums_key(lab.index) != key
    check(lab)


def test_sums_follow_stop_rules_and_lost_members(lab):
    set_states(lab)
    with lab.index.transaction() as connection:
        connection.execute("UPDATE members SET stopped = 5 WHERE position < 3")
    check(lab)
    with lab.index.transaction() as connection:
        connection.execute("UPDATE members SET stopped = NULL WHERE position < 2")
        connection.execute("DELETE FROM members WHERE experiment = 2 AND position > 5")
    check(lab)


def test_leased_runs_are_running_while_their_process_lives(lab):
    set_states(lab)
    runs = [each.run for each in lab.runs()]
    with Owner(lab.index.path) as owner:
        owner.acquire(lab.index, runs[:9])
        check(lab)
        assert total_sums(lab.index).statuses["running"] > 1
    assert "running" not in total_sums(lab.index).statuses
    with lab.index.transaction() as connection:
        connection.execute("UPDATE runs SET owner = 'gone'")
    check(lab)


def test_a_transaction_that_is_rolled_back_changes_no_sum(lab):
    before = sums_key(lab.index)
    with pytest.raises(RuntimeError), lab.index.transaction() as connection:
        connection.execute("UPDATE runs SET step = 4")
        raise RuntimeError
    assert sums_key(lab.index) == before


def test_words_have_an_order(lab):
    set_states(lab)
    words = total_sums(lab.index).words
    assert [each.split()[1] for each in words.split(", ")] == [
        "finished", "interrupted", "planned", "diverged", "failed",
    ]  # fmt: skip


def test_a_store_of_an_earlier_release_gets_its_sums_when_it_is_written(lab):
    set_states(lab)
    path = lab.path
    lab.close()
    connection = sqlite3.connect(path / "index.sqlite")
    connection.execute("DROP TABLE sums")
    connection.close()
    reading = Store(path, write=False)
    assert not reading.index.has_sums
    assert total_sums(reading.index).statuses == statuses(reading.runs())
    reading.close()
    check(Store(path))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sums SET runs = runs + 1",
        "UPDATE sums SET state = 'finishee' WHERE state = 'finished'",
        "UPDATE sums SET done = done + 1 WHERE experiment = 2",
        "DELETE FROM sums WHERE experiment = 1",
        "INSERT INTO sums VALUES (9, 'planned', 0, 0, 0)",
    ],
)
def test_wrong_sums_are_damage_and_are_counted_again(lab, statement):
    set_states(lab)
    path = Path(lab.path)
    lab.close()
    connection = sqlite3.connect(path / "index.sqlite")
    with connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(StoreError, match=r"sums, row '\d': is not what counting gives"):
        Store(path)
    report = repair_index(path)
    assert report.done == ["index: its sums were counted again"]
    assert report.left == []
    check(Store(path))
