"""Figures, tables and lists of results for notebooks.

What a notebook shows of an object is said beside its class (:mod:`ablab.config.shown`). This
package has what needs figures: runs, results and effects that draw themselves.

- ``attention``: attention patterns on one sample.
- ``curves``: curves of an experiment and of a run.
- ``effects``: effects with their figure.
- ``listings``: lists of runs, experiments, readings and verdicts, and what a store shows.
- ``plot``: a figure that can be saved.
- ``run``: a stored run that can be drawn.
- ``variants``: the results of an experiment's variants as a table.
"""
