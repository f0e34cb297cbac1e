"""The optimizers: ``NAME_config.py`` has the settings, without torch; ``NAME.py`` the update."""
