"""Failed trials of tuning are trained again on request, and those of no other experiment."""

from dataclasses import replace

from ablab.store import Store
from ablab.store.run_rows import fail_run
from tests.execute.test_tune import ASKED, OPTIONS, tuned


def failing_trial(folder, n_digits):
    """The id of a trial that is now stored as failed before its first step."""
    store = Store(folder)
    (record,) = (
        each
        for each in store.experiments()
        if each.name == "planted.tuning" and each.definition["task"]["n_digits"] == n_digits
    )
    run = store.runs(record)[0].run
    fail_run(store, run, "an error")
    with store.index.transaction() as connection:
        connection.execute("UPDATE runs SET step = 0 WHERE id = ?", (run,))
    return run


def test_a_retry_resets_only_trials_of_this_experiment(tmp_path):
    few = ASKED | {"tune": ASKED["tune"] | {"trials": 2}}
    other = few | {"task": few["task"] | {"n_digits": 2}}
    retry = replace(OPTIONS, retry=True)

    def status(run):
        return Store(tmp_path).run_records([run])[0].status

    tuned(few, tmp_path)
    mine = failing_trial(tmp_path, 1)
    tuned(other, tmp_path, options=retry)
    assert status(mine) == "failed"
    own = failing_trial(tmp_path, 2)
    tuned(other, tmp_path, options=retry)
    assert (status(own), status(mine)) == ("finished", "failed")
