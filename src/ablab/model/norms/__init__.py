"""Norms over the last axis: one file for each, found by its name."""
