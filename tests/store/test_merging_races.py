"""Parts that another process merges at the worst moment lose no rows."""

import polars as pl
import pytest

from ablab.store import Store, compaction
from ablab.store.compaction import compact
from ablab.store.index import Index
from ablab.store.metrics import append_rows, read_runs
from ablab.store.parts import list_parts

RUN = "a" * 12


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A store with ten parts, and a small limit for merging."""
    monkeypatch.setattr(compaction, "_SMALL_PARTS", 2)
    store = Store(tmp_path / "lab", create=True)
    for step in range(1, 11):
        append_rows(store, pl.DataFrame({"run": [RUN], "step": [step], "x": [float(step)]}))
    store.close()
    return tmp_path / "lab"


def merged_after(monkeypatch, lab, what):
    """Another process merges all parts after the first query of this one that names something."""
    rows, merged = Index.rows, []

    def reading(self, query, *values):
        found = rows(self, query, *values)
        if what in query and not merged:
            merged.append(True)
            other = Store(lab)
            merged[0] = compact(other)
            other.close()
        return found

    monkeypatch.setattr(Index, "rows", reading)
    return merged


def test_a_list_of_parts_is_of_one_moment(lab, monkeypatch):
    store = Store(lab)
    merged = merged_after(monkeypatch, lab, "SELECT part, run FROM part_runs")
    parts = list_parts(store, [RUN])
    assert merged == [10] and len(parts) == 10
    assert [each.runs for each in parts] == [(RUN,)] * 10
    assert len(list_parts(store, [RUN])) == 1


def test_rows_are_read_again_after_a_merge(lab, monkeypatch):
    store = Store(lab)
    merged = merged_after(monkeypatch, lab, "SELECT part, run FROM part_runs")
    frame = read_runs(store, [RUN])
    assert merged == [10]
    assert frame["x"].to_list() == [float(step) for step in range(1, 11)]


def test_a_merged_part_is_not_taken_for_the_one_whose_number_it_has(lab):
    """This process is about to merge parts 10 and 11 when another one merges 1 to 10 into 10."""
    store = Store(lab)
    append_rows(store, pl.DataFrame({"run": [RUN], "step": [11], "x": [11.0]}))
    stale = list_parts(store)[-2:]
    held = {part.file: (lab / "metrics" / part.file).read_bytes() for part in stale}
    other = Store(lab)
    assert compaction._merge(other, list_parts(other)[:10]) == 10
    other.close()
    assert [each.id for each in list_parts(store)] == [each.id for each in stale] == [10, 11]
    for name, content in held.items():  # they were read before they went
        (lab / "metrics" / name).write_bytes(content)
    assert compaction._merge(store, stale) == 0
    assert [each.id for each in list_parts(store)] == [10, 11]
    assert read_runs(store, [RUN])["step"].to_list() == list(range(1, 12))


def test_a_view_may_be_within_another_one_and_in_a_transaction(lab):
    store = Store(lab)
    with store.index.view(), store.index.view():
        assert len(list_parts(store)) == 10
    with store.index.transaction() as connection:
        connection.execute("DELETE FROM parts WHERE id = 1")
        assert len(list_parts(store)) == 9
    assert len(list_parts(store)) == 9
