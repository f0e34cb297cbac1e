"""Looking inside: what trained models compute, over snapshots, seeds and variants.

- ``analyses``: a file per analysis.
- ``analysis``: the decorator and the registry of analyses.
- ``analyze``: runs an analysis on stored runs or on a model.
- ``chosen``: which stored runs are analyzed, and at which steps.
- ``compute``: computes the findings that a store lacks, also in worker processes.
- ``examine``: examines models with analyses, of which some fail or do not apply.
- ``figures``: what the figures of an analysis show, as data.
- ``finding``: the results of an analysis, for one model and for many.
- ``loaded``: models of one shape in one module, whose parameters are exchanged.
- ``measure``: a user's measure as an analysis.
- ``methods``: what several analyses compute, one method per file.
- ``narrow_attention``: attention over few positions with narrow heads, for many samples.
- ``passes``: forward passes of many models of one shape.
- ``replacement``: replacements of tensors at sites, given as data.
- ``request``: an analysis with its settings, and the identity of what it finds.
- ``scalars``: what a scalar may be, and how it may be called.
- ``stored``: the findings that a store has, for pages, read without the code of analyses.
- ``subject``: the input of an analysis: one model at one step.
- ``summary``: scalars by variant, in the untrained model and in the end.
- ``units``: models that one process analyzes together.
- ``work``: shares units among processes, and keeps what is found.
- ``worker``: a worker process.
"""
