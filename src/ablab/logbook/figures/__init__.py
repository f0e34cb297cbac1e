"""The figures of a run, each in the file of its name; see :mod:`ablab.logbook.figure`."""
