"""The optimizers. ``NAME_config.py`` has the settings and ``NAME.py`` has the update."""
