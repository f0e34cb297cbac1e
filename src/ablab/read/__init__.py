"""Interprets stored results: curves, summaries, measures, effects and verdicts.

Modules:

- ``bands``: mean curves of variants, with the range over seeds.
- ``curves``: the curve reader.
- ``directions``: which values of a column are better.
- ``effects``: the effects of settings, their interactions and their scaling.
- ``hypothesis_tests``: the statistical tests behind verdicts.
- ``incidents``: finds the statistics that deviated first before an incident.
- ``measured``: the type of a measured value.
- ``measures``: computes a measure for each run.
- ``readings``: readings of stored runs, cached in the index.
- ``samples``: predictions on held-out samples, and generated text.
- ``spikes``: explains spikes and suggests a test.
- ``summary``: final values of each variant, with mean and spread over seeds.
- ``verdicts``: verdicts on expectations, and their calibration.
"""
