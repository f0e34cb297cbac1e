"""Attention activations, which turn scores into weights: one per file, found by name."""
