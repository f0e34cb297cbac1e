"""The figures of a run, one per file; see :mod:`ablab.logbook.figure`.

- ``curves``: a statistic as a curve for each layer.
- ``heat``: a statistic as a heat map of layers and steps.
- ``histogram``: a captured tensor as a histogram at each step.
- ``patterns``: captured attention patterns of heads at several steps.
"""
