"""A file per figure of a run; see :mod:`ablab.logbook.figure`."""
