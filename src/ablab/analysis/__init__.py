"""Looking inside: what trained models compute, over snapshots, seeds and variants.

- ``analysis``: the decorator and the registry of analyses.
- ``subject``: the input of an analysis: one model at one step.
- ``finding``: the results of an analysis, for one model and for many.
- ``analyze``: runs an analysis on stored runs or on a model.
- ``analyses``: a file per analysis.
"""
