"""Stores whose snapshots can be moved to bundles."""

import pytest

from ablab.store import bundles
from tests.store.bundled import ASKED
from tests.store.makers import WILD, train


@pytest.fixture
def many(monkeypatch):
    """Any number of snapshots is many."""
    monkeypatch.setattr(bundles, "_MANY", 0)


@pytest.fixture
def wild(tmp_path):
    """A store of two runs with snapshots of eleven steps each, in files of their own.

    They are 0, 1, 2, 4, 8, 10, 16, 20, 30, 32 and 40.
    """
    return train(WILD, tmp_path / "lab", *ASKED, engine="solo").store
