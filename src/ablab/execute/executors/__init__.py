"""Executors, one per file, found by name: how the processes that train a plan are run."""
