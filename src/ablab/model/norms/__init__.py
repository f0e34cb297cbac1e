"""Norms over the last axis: one per file, found by name."""
