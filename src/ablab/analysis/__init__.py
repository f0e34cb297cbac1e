"""Looking inside: what trained models compute, over snapshots, seeds and variants.

- ``analysis``: what an analysis is: a decorated function of a subject; the registry.
- ``subject``: what an analysis looks at: one model at one step.
- ``finding``: what an analysis gives, of one model and of many.
- ``analyze``: makes an analysis of stored runs or of a model.
- ``analyses``: the analyses, each in the file of its name.
"""
