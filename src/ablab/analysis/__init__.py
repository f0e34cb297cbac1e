"""Looking inside: what trained models compute, over snapshots, seeds and variants.

- ``analysis``: the decorator and the registry of analyses.
- ``analyze``: runs an analysis on stored runs or on a model.
- ``analyses``: a file per analysis.
- ``chosen``: which stored runs are analyzed, and at which steps.
- ``compute``: computes the findings that a store lacks, also in worker processes.
- ``cyclic``: samples whose answer is a sum in a cyclic group.
- ``examine``: examines models with analyses, of which some fail or do not apply.
- ``figures``: what the figures of an analysis show, as data.
- ``finding``: the results of an analysis, for one model and for many.
- ``fourier_basis``: the Fourier basis of a cyclic group, spectra and their sparsity.
- ``fourier_terms``: the terms of each frequency in functions of two elements.
- ``key_frequencies``: the key frequencies of a model that adds in a cyclic group.
- ``last_mlp``: the last MLP, and the logits as a function of its neurons.
- ``losses``: cross-entropies that are exact near zero.
- ``neuron_ablation``: mean ablation of single neurons and of growing sets.
- ``nine_terms``: neurons fitted by the nine terms of one frequency.
- ``passes``: forward passes of many models of one shape.
- ``replacement``: replacements of tensors at sites, given as data.
- ``request``: an analysis with its settings, and the identity of what it finds.
- ``summary``: scalars by variant, in the untrained model and in the end.
- ``subject``: the input of an analysis: one model at one step.
- ``units``: models that one process analyzes together.
- ``work``: shares units among processes, and keeps what is found.
- ``worker``: a worker process.
"""
