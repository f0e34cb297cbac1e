"""Executors, one per file, found by name.

- ``in_process``: trains in this process.
- ``worker_processes``: trains in several processes of this machine.
"""
