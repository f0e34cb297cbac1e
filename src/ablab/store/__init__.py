"""What is kept: an index of runs, their metrics and their snapshots, in one portable folder."""

from ablab.store.store import Store, StoreError

__all__ = ["Store", "StoreError"]
