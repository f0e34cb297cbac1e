"""The checks, one per file; :func:`ablab.doctor.check.all_checks` finds them by file name.

- ``cache``: generation with and without a cache.
- ``causality``: predictions do not depend on later tokens.
- ``evaluation``: evaluation is deterministic.
- ``forward``: the forward pass runs and returns finite logits.
- ``gradients``: every parameter gets a gradient.
- ``in_place``: a pass does not overwrite tensors that outlive it.
- ``initial_loss``: the untrained model guesses uniformly.
- ``memorises``: the model can overfit one small batch.
- ``methods``: every method of training agrees with the eager one.
- ``norms``: each norm acts on single vectors.
- ``padding``: padding is excluded from the loss.
- ``positions``: the order of tokens matters.
- ``registered``: every parameter is registered and trained.
- ``samples``: samples of a batch do not affect each other.
- ``seed``: a run depends on its configuration and seed only.
- ``split``: held-out samples are not trained on.
- ``stack``: stacked runs equal runs trained alone.
- ``targets``: targets are the next tokens.
- ``types``: the model follows ``.double()`` and ``.to(device)``.
- ``weights``: attention weights are masked and normalised.
"""
