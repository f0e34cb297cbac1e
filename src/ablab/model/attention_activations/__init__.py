"""How attention turns scores into weights: one file for each, found by its name."""
