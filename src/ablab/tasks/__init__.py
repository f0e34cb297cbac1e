"""Tasks: sources of batches, each batch a pure function of (seed, step)."""
