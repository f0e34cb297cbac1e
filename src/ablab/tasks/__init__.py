"""Where batches come from: a task draws them as a pure function of (seed, step)."""
