"""The transformer family and its sites; a model knows one run, never a run axis."""
