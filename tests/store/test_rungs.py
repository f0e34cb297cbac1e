"""Decisions of halving in the index: what is due, and those of two stores."""

import pytest

from ablab.experiments import experiment
from ablab.store.metrics import experiment_runs
from ablab.store.run_rows import fail_run
from ablab.store.rungs import RungDecision, decide_rung, due_rung, rung_decisions
from ablab.store.store import Store
from ablab.store.transfer import transfer

ASKED = {
    "name": "halved",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"d_model": 8, "n_heads": 1},
    "train": {"steps": 600, "batch_size": 8},
    "grid": {"train.lr": [1e-3, 1e-2, 1e-1]},
    "seeds": 2,
    "halving": {"rungs": [100], "keep": "1/3"},
}


def decided(folder, outcomes, steps):
    """A store in which rung 100 was decided, with the steps of all runs."""
    asked = experiment(ASKED).resolve()
    store = Store(folder, create=True)
    record = store.register(asked, "ablab run halved.yaml", {})
    ids = [run.id for variant in asked.variants for run in variant.runs]
    with store.index.transaction() as connection:
        for run, step in zip(ids, steps, strict=True):
            connection.execute("UPDATE runs SET step = ? WHERE id = ?", (step, run))
    decide_rung(
        store,
        record,
        [RungDecision(100, place, each, 1.0, 1.0, "why") for place, each in enumerate(outcomes)],
    )
    return store, record, ids, asked.digest


PAUSED = ("goes on", "paused", "paused")
STEPS = (600, 600, 100, 100, 100, 50)


@pytest.mark.parametrize("outcome", ["failed", "diverged"])
def test_a_run_of_a_paused_variant_is_retried_to_its_rung_only(tmp_path, outcome):
    store, _, ids, digest = decided(tmp_path / "lab", PAUSED, STEPS)
    assert due_rung(store, digest, [100]) == 100  # its last run is at step 50
    fail_run(store, ids[5], "an error")
    with store.index.transaction() as connection:
        connection.execute("UPDATE runs SET outcome = ? WHERE id = ?", (outcome, ids[5]))
    assert due_rung(store, digest, [100]) is None
    assert due_rung(store, digest, [100], retry=True) == 100
    store.retry([ids[5]])
    assert due_rung(store, digest, [100]) == 100


def told(store, record):
    runs = experiment_runs(store, record)
    return [(run.run, run.status, run.step) for run in runs], rung_decisions(store, record.id)


def test_unpacking_does_not_pause_what_the_store_let_go_on(tmp_path):
    source, theirs, ids, _ = decided(tmp_path / "source", PAUSED, (600, 600, 100, 100, 100, 100))
    with source.index.transaction() as connection:  # without metrics, which would be compared
        connection.execute("UPDATE runs SET step = 0")
        stopped = "SELECT count(*) FROM members WHERE stopped = 100"
        assert connection.execute(stopped).fetchone()[0] == 4
    target, own, _, _ = decided(
        tmp_path / "target", ("goes on", "late", "paused"), (600, 600, 600, 600, 100, 100)
    )
    before = told(target, own)
    assert set(transfer(source, target, [theirs], "last").present) == set(ids)
    assert told(target, own) == before


def test_decisions_that_a_store_lacks_are_unpacked(tmp_path):
    source, theirs, _, _ = decided(tmp_path / "source", PAUSED, (0,) * 6)
    target = Store(tmp_path / "target", create=True)
    transfer(source, target, [theirs], "last")
    record = target.experiment("halved")
    assert [each.outcome for each in rung_decisions(target, record.id)] == [*PAUSED]
