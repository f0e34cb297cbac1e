"""The analyses, each in the file of its name; see :mod:`ablab.analysis.analysis`."""
