import sqlite3
import threading

import polars as pl
import pytest

import ablab
from ablab.store import Store, StoreError
from ablab.store.index import Index
from ablab.store.leases import Owner, live_owners
from tests.store.makers import train


def test_a_store_is_made_where_there_is_nothing(tmp_path):
    Store(tmp_path / "a" / "lab", create=True).close()
    assert Store(tmp_path / "a" / "lab").runs() == []


def test_other_folders_and_files_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match="not a store"):
        Store(tmp_path, create=True)
    with pytest.raises(StoreError, match="not a folder"):
        Store(tmp_path / "thesis.tex", create=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("content", [b"", b"not a database" * 100])
def test_an_index_that_is_none_is_an_error(tmp_path, content):
    (tmp_path / "index.sqlite").write_bytes(content)
    with pytest.raises(StoreError):
        Store(tmp_path)


def test_a_store_of_a_later_release_is_an_error(tmp_path):
    Store(tmp_path / "lab", create=True).close()
    connection = sqlite3.connect(tmp_path / "lab" / "index.sqlite")
    connection.execute("UPDATE meta SET value = '99'")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="another release"):
        Store(tmp_path / "lab")


def test_what_is_listed_of_runs(tmp_path, tiny):
    result = train(tiny, tmp_path / "lab")
    first = result.runs[0]
    assert vars(first).keys() == {
        "run",
        "experiments",
        "variant",
        "seed",
        "status",
        "step",
        "steps",
        "train_loss",
        "eval_loss",
        "seconds",
        "n_params",
        "error",
    }
    assert (first.experiments, first.variant, first.seed) == (["tiny"], {"model.d_model": 8}, 0)
    assert (first.status, first.step, first.steps) == ("finished", 20, 20)
    assert first.seconds > 0
    assert first.n_params == 12 * 8 + 6 * 8 + 872 + 16 + 9 * 12
    assert result.metrics()["train_loss"].to_list()[20] == first.train_loss


def test_a_run_belongs_to_every_experiment_that_asks_for_it(tmp_path, tiny):
    train(tiny, tmp_path / "lab")
    other = train(tiny | {"name": "other"}, tmp_path / "lab", "model.d_model=16", "train.steps=10")
    assert other.trained == 0
    store = Store(tmp_path / "lab")
    shared = [run for run in store.runs() if len(run.experiments) == 2]
    assert [run.variant for run in shared] == [{"model.d_model": 16}] * 2
    seen = other.runs
    assert [(run.variant, run.step, run.status) for run in seen] == [({}, 10, "finished")] * 2
    at_ten = other.metrics().filter(pl.col("step") == 10)
    assert [run.train_loss for run in seen] == at_ten["train_loss"].to_list()
    assert [run.eval_loss for run in seen] == at_ten["eval_loss"].to_list()
    assert other.metrics()["step"].max() == 10


def test_runs_of_an_experiment_come_in_its_own_order(tmp_path, tiny):
    train(tiny, tmp_path / "lab", "model.d_model=16", "seeds=1", "train.steps=4")
    both = train(tiny, tmp_path / "lab", "model.d_model=8,16", "seeds=1", "train.steps=6")
    runs = both.store.runs(both.record)
    assert [run.variant["model.d_model"] for run in runs] == [8, 16]


def test_reading_alone_writes_nothing(tmp_path, tiny):
    made = train(tiny, tmp_path / "lab", "seeds=1", "train.steps=4")
    with made.store.index.transaction() as connection:
        connection.execute("DROP TABLE kept")  # as an earlier release left it
    made.store.close()
    store = Store(tmp_path / "lab", write=False)
    assert len(store.runs()) == 2
    assert store.index.rows("SELECT * FROM kept") == []
    with pytest.raises(StoreError, match="cannot write"):
        store.note(store.experiment("tiny").id, "no")
    store.close()
    plain = sqlite3.connect(tmp_path / "lab" / "index.sqlite")
    assert plain.execute("SELECT name FROM sqlite_master WHERE name = 'kept'").fetchall() == []
    plain.close()


def test_a_unique_beginning_of_an_id_will_do(tmp_path, tiny):
    result = train(tiny, tmp_path / "lab", "seeds=1")
    wanted = result.runs[0].run
    assert ablab.open(tmp_path / "lab").run(wanted[:6]).id == wanted
    with pytest.raises(StoreError, match="no run 'zz'"):
        ablab.open(tmp_path / "lab").run("zz")
    with pytest.raises(StoreError):
        ablab.open(tmp_path / "lab").run("")


def test_unknown_experiments_suggest_the_nearest(tmp_path, tiny):
    train(tiny, tmp_path / "lab", "seeds=1", "model.d_model=8")
    with pytest.raises(StoreError) as caught:
        Store(tmp_path / "lab").experiment("tinny")
    assert caught.value.problems[0].suggestion == "tiny"


def test_a_lease_keeps_others_away_until_its_end(tmp_path, tiny):
    result = train(tiny, tmp_path / "lab", "seeds=1")
    runs = [run.run for run in result.runs]
    path = tmp_path / "lab" / "index.sqlite"
    index = Index(path, create=False)
    with Owner(path) as one, Owner(path) as two:
        assert one.acquire(index, runs[:1]) == runs[:1]
        assert two.acquire(index, runs) == runs[1:]
        assert one.acquire(index, runs) == runs[:1]
        one.release(index, runs[:1])
        assert two.acquire(index, runs) == runs
    with Owner(path) as three:
        assert three.acquire(index, runs) == runs


def test_the_dead_lose_their_leases(tmp_path, tiny):
    result = train(tiny, tmp_path / "lab", "seeds=1", "model.d_model=8")
    run = result.runs[0].run
    path = tmp_path / "lab" / "index.sqlite"
    index = Index(path, create=False)
    with Owner(path) as owner:
        owner.acquire(index, [run])
        assert live_owners(index) == {owner.token}
        # As if the process had been killed and its number given to another.
        with index.transaction() as connection:
            connection.execute("UPDATE owners SET started = started - 1000")
        assert live_owners(index) == set()
        with Owner(path) as heir:
            assert heir.acquire(index, [run]) == [run]


def test_transactions_of_many_threads_all_count(tmp_path):
    Store(tmp_path / "lab", create=True).close()
    path = tmp_path / "lab" / "index.sqlite"

    def add(number: int) -> None:
        index = Index(path, create=False)
        for each in range(20):
            with index.transaction() as connection:
                connection.execute("INSERT INTO meta VALUES (?, '')", (f"{number}-{each}",))
        index.close()

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Index(path, create=False).rows("SELECT * FROM meta")) == 81


def test_many_can_make_a_store_at_once(tmp_path):
    errors = []

    def make(number: int) -> None:
        try:
            Store(tmp_path / f"lab{number}", create=True).close()
        except StoreError as error:
            errors.append(error)

    for number in range(10):
        threads = [threading.Thread(target=make, args=(number,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
