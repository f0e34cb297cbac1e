"""Position encodings: one per file, found by name."""
