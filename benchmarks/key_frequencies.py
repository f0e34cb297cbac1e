"""False and missed key frequencies of several rules, on logits whose frequencies are planted.

``python benchmarks/key_frequencies.py [--models 200] [--modulus 59]`` prints, for each kind of
logits and each rule, the number of false key frequencies of a model, the share of models with any,
and which share of the planted ones is found, by their share of the variance. See
docs/decisions/0035-key-frequencies.md.
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np

from ablab.analysis.examine import subject_of
from ablab.analysis.methods.cyclic import CyclicSamples, cyclic_samples
from ablab.analysis.methods.fourier_basis import permutation_p
from ablab.analysis.methods.key_frequencies import (
    PERMUTATIONS,
    FrequencyFit,
    element_logits,
    find_key_frequencies,
)
from ablab.analysis.subject import WHOLE
from ablab.model.build import build_model
from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.modular import Modular
from ablab.tasks.modular_config import ModularConfig

SHARES = (0.4, 0.2, 0.1, 0.05, 0.02, 0.01)  # of the variance, with one frequency for each
Found = set[int]


def samples_of(modulus: int) -> CyclicSamples:
    """The table of a + b, of which 60% is held out."""
    task = Modular(ModularConfig(p=modulus, train_fraction=0.4))
    config = TransformerConfig(d_model=4, n_heads=1)
    model = build_model(config, task.config.vocab_size, task.config.input_length, seed=0)
    (samples,) = cyclic_samples(subject_of(model, task, WHOLE))
    return samples


def planted(
    samples: CyclicSamples, rng: np.random.Generator, waves: bool, rest: str
) -> tuple[np.ndarray, dict[int, float]]:
    """Logits of a model, (S, V), and the share of each planted frequency.

    The rest is noise of each sample (``noise``), a random table of the sum and the answer
    (``table``), or as many waves of other answers, relabelled at random (``relabelled``).
    """
    n = samples.order
    offsets = samples.sums[:, None] - np.arange(n)
    shares = SHARES if waves else ()
    keys = rng.choice(np.arange(1, n // 2 + 1), len(shares), replace=False)
    size = np.sqrt(1 - sum(shares))
    if rest == "noise":
        logits = size * rng.normal(size=(len(samples.sums), n))
    elif rest == "table":
        logits = size * rng.normal(size=(n, n))[samples.sums]
    else:
        order, other = rng.permutation(n), rng.integers(1, n // 2 + 1, 4)
        turned = 2 * np.pi * (order[samples.sums][:, None] - np.arange(n)) / n
        logits = size * np.cos(turned[..., None] * other).sum(-1) / np.sqrt(len(other) / 2)
    for k, share in zip(keys, shares, strict=True):
        logits = logits + np.sqrt(2 * share) * np.cos(2 * np.pi * k * offsets / n)
    every = np.zeros((len(samples.sums), samples.group.elements.max() + 2))
    every[:, samples.group.elements] = logits
    return every, dict(zip(map(int, keys), shares, strict=True))


def at_once(logits: np.ndarray, samples: CyclicSamples) -> Found:
    """All frequencies in a single test against the largest of relabelled answers."""
    fit = FrequencyFit(element_logits(logits, samples), samples, samples.halves(0)[0])
    shares = fit.shares(fit.amplitudes())
    rng = np.random.default_rng(2)
    orders = np.stack([rng.permutation(samples.order) for _ in range(PERMUTATIONS)])
    null = fit.shares(fit.relabelled_amplitudes(orders)).max(-1)
    p = permutation_p(shares, null[:, None])
    return set(map(int, np.flatnonzero((p <= 0.01) & (shares >= 0.005)) + 1))


def above(least: float) -> Callable[[np.ndarray, CyclicSamples], Found]:
    """All frequencies with a share of the variance, without a test."""

    def rule(logits: np.ndarray, samples: CyclicSamples) -> Found:
        fit = FrequencyFit(element_logits(logits, samples), samples, samples.halves(0)[0])
        shares = fit.shares(fit.amplitudes())
        return set(map(int, np.flatnonzero(shares >= least) + 1))

    return rule


def five_largest(logits: np.ndarray, samples: CyclicSamples) -> Found:
    """The five with the largest share, as the published model has five."""
    fit = FrequencyFit(element_logits(logits, samples), samples, samples.halves(0)[0])
    return set(map(int, np.argsort(-fit.shares(fit.amplitudes()))[:5] + 1))


def in_turn(smallest_share: float) -> Callable[[np.ndarray, CyclicSamples], Found]:
    """The rule of ablab: tested one after the other, the largest first."""
    return lambda logits, samples: set(
        find_key_frequencies(logits, samples, smallest_share=smallest_share).keys
    )


RULES: dict[str, Callable[[np.ndarray, CyclicSamples], Found]] = {
    "in turn, at least 0.5%": in_turn(0.005),
    "in turn, any share": in_turn(0.0),
    "all at once, at least 0.5%": at_once,
    "at least 0.5%, untested": above(0.005),
    "at least 5%, untested": above(0.05),
    "the five largest": five_largest,
}


def measured(samples: CyclicSamples, waves: bool, rest: str, models: int) -> Iterator[str]:
    """A line for each rule."""
    false: dict[str, list[int]] = {name: [] for name in RULES}
    true = {name: dict.fromkeys(SHARES, 0) for name in RULES}
    for seed in range(models):
        logits, keys = planted(samples, np.random.default_rng(seed), waves, rest)
        for name, rule in RULES.items():
            found = rule(logits, samples)
            false[name].append(len(found - keys.keys()))
            for key in found & keys.keys():
                true[name][keys[key]] += 1
    for name in RULES:
        counts = np.array(false[name])
        hits = "  ".join(f"{100 * n / models:5.1f}" for n in true[name].values()) if waves else ""
        any_false = 100 * (counts > 0).mean()
        yield f"  {name:28s} {counts.mean():6.3f} false  {any_false:5.1f}% of models  {hits}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--modulus", type=int, default=59)
    given = parser.parse_args()
    samples = samples_of(given.modulus)
    print(f"modulus {given.modulus}, {given.models} models; found, in % by share {SHARES}")
    for waves in (False, True):
        for rest in ("noise", "table", "relabelled"):
            print(f"{'six frequencies and' if waves else 'no frequency,'} {rest}")
            for line in measured(samples, waves, rest, given.models):
                print(line, flush=True)


if __name__ == "__main__":
    main()
