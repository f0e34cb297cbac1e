"""The store: an index of runs, their metrics and their snapshots, in one portable folder.

Modules:

- ``artifacts``: captured tensors and flight records.
- ``bundles``: many small snapshots in one file.
- ``cached_readings``: readings of curves, kept until the data change.
- ``check``: is every file present, and what was written?
- ``check_files``: compares every file with its digest and its index entry.
- ``checkpointer``: writes the checkpoints of a stack.
- ``compaction``: merges many small metrics parts into few.
- ``copying``: files and rows of runs that another store lacks.
- ``cover``: records digests of files that are written once.
- ``digests``: digests of files, taken when they are written and compared when they are read.
- ``expected``: expectations with the time at which they were written.
- ``file_system``: how an index is opened where it lies: writable, read-only, on a network.
- ``files``: atomic writes, and whether an error is the store's.
- ``findings``: what analyses found: scalars as columns of the metrics, tables, arrays.
- ``frame_cache``: a cache of frames of metrics, while an entry is made.
- ``homeward``: what another machine has trained, collected there and published here.
- ``index``: the SQLite index and its transactions.
- ``index_repair``: finds changed bits of the index, or drops rows that are made again.
- ``initial``: the initial parameters of runs, and the torch that drew them.
- ``known_runs``: runs under earlier ids, and runs of earlier versions of an experiment.
- ``leases``: which process owns which run.
- ``metrics``: the rows of all metrics parts, read as one frame.
- ``outward``: what another machine needs to train claimed runs.
- ``packs``: an experiment with its runs as one file.
- ``parquet``: reads Parquet files that may be damaged.
- ``parts``: metrics parts, which are written once and never changed.
- ``paths``: the paths of a store's files, made from checked names.
- ``processes``: identifies processes, whatever the clock says.
- ``records``: records of experiments and runs, made from rows of the index.
- ``repair``: sets damaged files aside, and runs back to where they are sound.
- ``repair_plan``: what can be done about damaged files.
- ``row_digests``: digests of the index's rows, and their verification.
- ``run_list``: records of runs, read some at a time.
- ``rungs``: what halving decided after each rung, and the runs that it paused.
- ``run_rows``: what the index says of runs: progress, segments, snapshots, outcomes.
- ``samples``: generated texts, by run and step.
- ``scalar_records``: what analyses declare of their scalars.
- ``schema``: the tables of the index, and whether a file has these and nothing else.
- ``set_aside``: moves damaged files to ``damaged/``.
- ``shares``: a run's rows in a metrics part, with a digest of their values.
- ``shipments``: what travels between the stores of a command and of other machines.
- ``snapshot_files``: paths of snapshots, and whether their headers are right.
- ``snapshots``: parameters and optimizer state as safetensors.
- ``sources``: copies of users' modules.
- ``staging``: rows and captures that may be discarded.
- ``store``: the store itself: experiments, runs, notes and entries.
- ``stored_run``: a stored run in Python.
- ``sums``: how many runs of an experiment have which status.
- ``sums_sql``: the SQL that keeps these sums, and counts them again.
- ``table_rows``: rows of the index by the values of a column.
- ``tidying``: keeps the number of files small.
- ``transfer``: copies experiments from one store to another.
- ``transferred``: what a transfer did.
- ``verified``: when a large index was last verified.
- ``versions``: values that change whenever a page of the live view must.
"""

from ablab.store.store import Store, StoreError

__all__ = ["Store", "StoreError"]
