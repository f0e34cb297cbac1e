"""Looking inside: what trained models compute, over snapshots, seeds and variants.

- ``analysis``: the decorator and the registry of analyses.
- ``analyze``: runs an analysis on stored runs or on a model.
- ``analyses``: a file per analysis.
- ``chosen``: which stored runs are analyzed, and at which steps.
- ``compute``: computes the findings that a store lacks, also in worker processes.
- ``effective_matrices``: products of weights: what tokens do to scores, neurons and logits.
- ``examine``: examines models with analyses, of which some fail or do not apply.
- ``figures``: what the figures of an analysis show, as data.
- ``finding``: the results of an analysis, for one model and for many.
- ``folded_weights``: the weights of a transformer with norms folded in.
- ``matrix_similarity``: cosines of effective matrices.
- ``outputs``: what neurons, heads and logits give out at one position.
- ``passes``: forward passes of many models of one shape.
- ``replacement``: replacements of tensors at sites, given as data.
- ``request``: an analysis with its settings, and the identity of what it finds.
- ``rewritten``: a model of one block, written in effective matrices.
- ``summary``: scalars by variant, in the untrained model and in the end.
- ``subject``: the input of an analysis: one model at one step.
- ``units``: models that one process analyzes together.
- ``variance_shares``: shares of a variance that inputs and factors explain.
- ``work``: shares units among processes, and keeps what is found.
- ``worker``: a worker process.
"""
