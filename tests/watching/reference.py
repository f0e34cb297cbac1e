"""Every statistic in NumPy's float64, from captured tensors."""

import numpy as np


def rows_of(x):
    return x.reshape(-1, x.shape[-1]) if x.ndim else x.reshape(1, 1)


def seen(x):
    """What is not hidden by -inf."""
    return np.where(np.isneginf(x), 0.0, x), np.isfinite(x).sum()


def mean_norm(x):
    return np.linalg.norm(rows_of(seen(x)[0]), axis=1).mean()


def max_norm(x):
    return np.linalg.norm(rows_of(seen(x)[0]), axis=1).max()


def min_norm(x):
    return np.linalg.norm(rows_of(seen(x)[0]), axis=1).min()


def rms(x):
    shown, count = seen(x)
    return np.sqrt((shown**2).sum() / count)


def mean(x):
    shown, count = seen(x)
    return shown.sum() / count


def std(x):
    shown = x[np.isfinite(x)]
    return shown.std()


def max_abs(x):
    return np.abs(seen(x)[0]).max()


def frac_zero(x):
    return (x == 0).mean()


def mean_entropy(x):
    return -(x * np.log(np.where(x > 0, x, 1.0))).sum(-1).mean()


def effective_rank(x):
    values = np.linalg.svd(rows_of(x), compute_uv=False)
    return (values**2).sum() ** 2 / (values**4).sum()


def update_ratio(before, after):
    return np.linalg.norm(after - before) / np.linalg.norm(before)


def cosine_previous(grad, previous):
    return (grad * previous).sum() / (np.linalg.norm(grad) * np.linalg.norm(previous))


def noise_scale(grad, previous, samples):
    return samples * ((grad - previous) ** 2).sum() / 2 / (grad * previous).sum()


def _true(logits, targets):
    return np.take_along_axis(logits, targets[..., None], -1)[..., 0]


def mean_margin(logits, targets):
    others = logits.copy()
    np.put_along_axis(others, targets[..., None], -np.inf, -1)
    return (_true(logits, targets) - others.max(-1)).mean()


def full_confidence(logits, targets):
    powers = np.exp((logits - logits.max(-1, keepdims=True)).astype(np.float32))
    return (_true(powers / powers.sum(-1, keepdims=True), targets) == 1).mean()


def zero_sum_error(grads, targets):
    others = grads.copy()
    np.put_along_axis(others, targets[..., None], 0.0, -1)
    return ((_true(grads, targets) == 0) & (np.abs(others).max(-1) > 0)).mean()


OF_TENSOR = {
    function.__name__: function
    for function in (
        mean_norm, max_norm, min_norm, rms, mean, std, max_abs, frac_zero, mean_entropy,
        effective_rank,
    )
}  # fmt: skip
OF_ANSWERS = {
    function.__name__: function for function in (mean_margin, full_confidence, zero_sum_error)
}
