"""Executors, one per file, found by name.

- ``in_process``: trains in this process.
- ``ray``: trains on the machines of a Ray cluster.
- ``worker_processes``: trains in several processes of this machine.
"""
