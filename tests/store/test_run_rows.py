"""What the index says of runs."""

import pytest

from ablab.store.index import StoreError
from ablab.store.run_rows import run_settings
from tests.read.filled import fill, grid


def test_settings_of_all_runs_are_read_at_once(tmp_path, monkeypatch):
    asked = grid(steps=20, seeds=2)
    store, record = fill(tmp_path / "lab", asked, lambda keys, seed, steps: 1.0 + 0 * steps)
    members = store.members(record.id)
    queries, rows = [], store.index.rows
    monkeypatch.setattr(
        store.index, "rows", lambda query, *values: queries.append(query) or rows(query, *values)
    )
    found = run_settings(store, [row["run"] for row in reversed(members)])
    assert len(queries) == 1
    assert list(found) == [row["run"] for row in reversed(members)]
    widths = [each["model"]["d_model"] for each in found.values()]
    assert widths == [32] * 4 + [16] * 4 + [8] * 4
    assert run_settings(store, []) == {}


def test_a_run_that_is_not_stored_is_an_error(tmp_path):
    asked = grid(steps=20, seeds=1)
    store, _ = fill(tmp_path / "lab", asked, lambda keys, seed, steps: 1.0 + 0 * steps)
    with pytest.raises(StoreError, match="has no run 'abc'"):
        run_settings(store, ["abc"])
