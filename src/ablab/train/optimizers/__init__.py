"""The optimizers: for each its settings (``NAME_config.py``, without torch) and its update."""
