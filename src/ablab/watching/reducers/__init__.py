"""The reducers, one per file: each reduces a tensor to a scalar.

- ``cosine_previous``: cosine of the gradients of two successive steps.
- ``effective_rank``: effective rank of a matrix.
- ``frac_zero``: fraction of exact zeros.
- ``full_confidence``: fraction of predictions with probability one for the target.
- ``max_abs``: largest absolute value.
- ``max_norm``: largest norm of a row.
- ``mean``: mean of all entries.
- ``mean_entropy``: mean entropy of rows that are probabilities.
- ``mean_margin``: mean margin of the target's logit.
- ``mean_norm``: mean norm of the rows.
- ``min_norm``: smallest norm of a row.
- ``noise_scale``: gradient noise scale.
- ``rms``: root mean square of all entries.
- ``std``: standard deviation of all entries.
- ``update_ratio``: norm of an update relative to the norm of the parameter.
- ``zero_sum_error``: fraction of predictions whose logit gradients no longer sum to zero.
"""
