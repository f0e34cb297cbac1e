"""A file per analysis; see :mod:`ablab.analysis.analysis`."""
