import polars as pl
import pytest
import torch

from ablab.store import Store, StoreError
from ablab.store.artifacts import (
    artifact_path,
    check_space,
    list_artifacts,
    read_artifact,
    read_incident,
    save_artifact,
)
from ablab.store.check import check_store

RUN = "0123456789ab"


def test_captures_of_a_step_come_together(tmp_path):
    store = Store(tmp_path / "lab", create=True)
    a, b = torch.arange(6.0).view(2, 3), torch.ones(4)
    save_artifact(store, "capture", RUN, 5, {"activation/q": a}, {})
    save_artifact(store, "capture", RUN, 5, {"param/w": b.expand(4)}, {})
    found = read_artifact(store, "capture", RUN, 5)
    assert torch.equal(found["activation/q"], a) and torch.equal(found["param/w"], b)
    assert [each.step for each in list_artifacts(store, "capture", RUN)] == [5]
    with pytest.raises(StoreError, match="no capture at step 6"):
        read_artifact(store, "capture", RUN, 6)


def test_a_flight_has_a_table_and_a_reason(tmp_path):
    store = Store(tmp_path / "lab", create=True)
    table = pl.DataFrame({"step": [1, 2], "grad/w/rms": [0.5, 9.0]})
    save_artifact(store, "flight", RUN, 2, {"w": torch.ones(2)}, {"reason": "jump"}, table)
    (found,) = list_artifacts(store, "flight", RUN)
    assert found.about == {"reason": "jump"}
    assert read_incident(store, RUN, 2).equals(table)
    assert check_store(store).problems == []
    artifact_path(store, "flight", RUN, 2, "parquet").unlink()
    assert "missing" in check_store(store).problems[0]


def test_a_store_of_an_earlier_release_is_given_the_table(tmp_path):
    store = Store(tmp_path / "lab", create=True)
    with store.index.transaction() as connection:
        connection.execute("DROP TABLE kept")
    store.close()
    assert list_artifacts(Store(tmp_path / "lab"), "capture", RUN) == []


def test_a_full_disk_is_said_beforehand(tmp_path):
    check_space(tmp_path / "not" / "there", 1000, "captures")
    with pytest.raises(StoreError, match="not enough disk space for the captures"):
        check_space(tmp_path, 10**18, "captures")
