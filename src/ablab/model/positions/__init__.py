"""How a model knows where a token stands: one file for each, found by its name."""
