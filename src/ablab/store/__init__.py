"""The store: an index of runs, their metrics and their snapshots, in one portable folder.

Modules:

- ``artifacts``: captured tensors and flight records.
- ``cached_readings``: readings of curves, kept until the data change.
- ``check``: compares every file with what the index says about it.
- ``checkpointer``: writes the checkpoints of a stack.
- ``expected``: expectations with the time at which they were written.
- ``files``: atomic writes.
- ``index``: the SQLite index and its transactions.
- ``index_repair``: finds changed bits of the index, or drops rows that are made again.
- ``initial``: the initial parameters of runs, and the torch that drew them.
- ``known_runs``: runs under earlier ids, and runs of earlier versions of an experiment.
- ``leases``: which process owns which run.
- ``metrics``: Parquet parts, and reading them as one frame.
- ``row_digests``: digests of the index's rows, and their verification.
- ``run_rows``: what the index says of runs: progress, segments, snapshots, outcomes.
- ``samples``: generated texts, by run and step.
- ``schema``: the tables of the index, and whether a file has these and nothing else.
- ``snapshots``: parameters and optimizer state as safetensors.
- ``sources``: copies of users' modules.
- ``store``: the store itself: experiments, runs, notes and entries.
- ``stored_run``: a stored run in Python.
- ``versions``: values that change whenever a page of the live view must.
"""

from ablab.store.store import Store, StoreError

__all__ = ["Store", "StoreError"]
