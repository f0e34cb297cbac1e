"""Independent computations for the tests of Fourier analyses. Axes: n elements, M functions."""

import numpy as np

import ablab
from ablab.tasks.modular import Modular


def examined(model, task, name, **settings):
    """The scalars, tables and arrays that an analysis finds in a model."""
    found = ablab.analyze(model, name, task=Modular(task), settings=settings)
    prefix = f"analysis/{name}/"
    scalars = {
        key.removeprefix(prefix): value
        for key, value in found.scalars.select("name", "value").iter_rows()
    }
    tables = {key: each.drop("run", "step") for key, each in found.tables.items()}
    return scalars, tables, {key: each[None, None] for key, each in found.arrays.items()}


def gini_by_differences(sizes):
    """Σ_ij |x_i - x_j| / (2 C² mean), the definition by mean differences."""
    x = np.ravel(sizes)
    return np.abs(x[:, None] - x).sum() / (2 * len(x) ** 2 * x.mean())


def wave_norms(matrix):
    """The norms of cosines and sines of a function of n elements (n odd), (n - 1,), by an FFT."""
    n = len(matrix)
    spectrum = np.fft.fft(matrix, axis=0)[1 : n // 2 + 1] * np.sqrt(2 / n)
    parts = np.stack([spectrum.real, spectrum.imag], axis=1)
    return np.linalg.norm(parts, axis=-1).ravel()


def pair_power(maps):
    """The power of M functions (n, n, M) by frequency in a and b, without the constant, by an FFT.

    The power of ±k and ±l is that of the frequencies k and l, (F + 1, F + 1), of the mean 1 / n².
    """
    n = len(maps)
    power = (np.abs(np.fft.fft2(maps, axes=(0, 1))) ** 2).sum(-1) / n**2
    power[0, 0] = 0
    fold = np.minimum(np.arange(n), n - np.arange(n))
    found = np.zeros((n // 2 + 1, n // 2 + 1))
    np.add.at(found, (fold[:, None], fold), power)
    return found


def fitted_shares(maps):
    """The share of nine terms of each frequency in each of M functions, (M, n // 2), by an FFT."""
    n = len(maps)
    power = np.abs(np.fft.fft2(maps, axes=(0, 1))) ** 2
    power[0, 0] = 0
    total = power.sum((0, 1))
    shares = []
    for k in range(1, n // 2 + 1):
        own = power[np.ix_([0, k, n - k], [0, k, n - k])]
        shares.append(own.sum((0, 1)) / total)
    return np.stack(shares, axis=-1)


def planted_neurons(adder):
    """The activations of all neurons, (p, p, M), from their formula; the scale is 1."""
    p = adder.task.p
    w = 2 * np.pi * adder.neuron_frequency / p
    waves = np.cos(np.outer(np.arange(p), w) - adder.neuron_phase) / 2
    constants = 2.0 * adder.always_active - 2.0 * adder.dead
    inputs = waves[:, None] + waves[None] + constants
    if adder.activation == "relu":
        return np.maximum(inputs, 0)
    return np.where(adder.dead, 0, inputs**2)


def planted_shape(adder, offsets):
    """Σ_k A'_k cos w_k d with the restricted amplitudes A', for offsets d."""
    angles = 2 * np.pi * np.multiply.outer(offsets, adder.key_frequencies) / adder.task.p
    return np.cos(angles) @ adder.restricted_amplitudes


def trigonometric_loss(adder, others=()):
    """The loss of the logits that :func:`planted_shape` gives, and other tokens' logits."""
    shape = planted_shape(adder, np.arange(adder.task.p))
    return np.log1p(np.exp(np.concatenate([shape[1:], others]) - shape[0]).sum())
