"""Fourier spectra of embedding, neurons and logits, and the key frequencies."""

from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field

from ablab.analysis.analysis import AT_MOST_ONE, NOT_NEGATIVE, SHARE, analysis
from ablab.analysis.figures import Bars, Curves, HeatMap
from ablab.analysis.finding import Finding
from ablab.analysis.methods.cyclic import CyclicSamples, cyclic_samples, forward_pass, named
from ablab.analysis.methods.fourier_basis import (
    ROUNDING,
    Sparsity,
    component_norms,
    frequencies_of,
    pair_norms,
    relabellings,
    sparsity,
)
from ablab.analysis.methods.fourier_terms import TERMS, share_outside, term_shares
from ablab.analysis.methods.key_frequencies import (
    PERMUTATIONS,
    KeyFrequencies,
    element_logits,
    find_key_frequencies,
)
from ablab.analysis.methods.last_mlp import LastMlp, last_mlp
from ablab.analysis.passes import Pass
from ablab.analysis.subject import Subject
from ablab.config import Config

_NEURON_PERMUTATIONS = 20  # at most; each transforms n² M numbers

Values = NDArray[np.float64]


class FourierSettings(Config):
    """Settings of ``fourier``."""

    answer: str | None = None
    """The answer that is looked at, such as ``digit_1`` of an addition; null: all."""
    permutations: int = Field(100, ge=20, le=10_000)
    """Random relabellings of the elements for the controls of embedding and neuron-logit map; at
    most 20 of them are used for the neurons."""
    level: float = Field(0.01, ge=1 / (PERMUTATIONS + 1), lt=1)
    """The probability of a key frequency in a model without any."""
    smallest_share: float = Field(0.005, ge=0, lt=1)
    """The smallest share of the logits' variance that a key frequency explains."""
    seed: int = Field(0, ge=0)
    """The seed of relabellings, and of the two halves of the samples."""


@analysis(
    "fourier",
    question="Does it add by rotations, and with which frequencies?",
    inputs=["model", "task"],
    cost="one forward pass, and 120 Fourier transforms",
    settings=FourierSettings,
    headline=[
        "*gini_embedding",
        "*gini_neurons",
        "*gini_neuron_logit_map",
        "*key_frequencies",
        "*share_of_logits_explained",
        "*neurons_outside_key_directions",
        "*mlp_logits_outside_key_directions",
    ],
    edition=4,
    limits={
        "*key_frequencies": NOT_NEGATIVE,
        "*share_of_logits_explained*": AT_MOST_ONE,
        "*": SHARE,
    },
    figures=[
        Curves(
            "sparsity",
            "Sparsity of Fourier spectra, and with relabelled elements",
            scalars={
                "gini_embedding": "embedding",
                "gini_embedding_permuted": "embedding, relabelled",
                "gini_neurons": "neurons",
                "gini_neurons_permuted": "neurons, relabelled",
                "gini_neuron_logit_map": "neuron-logit map",
                "gini_neuron_logit_map_permuted": "neuron-logit map, relabelled",
            },
            y="Gini coefficient",
        ),
        Curves(
            "explained",
            "Held-out logits explained by waves of the key frequencies",
            scalars={
                "share_of_logits_explained": "key frequencies",
                "share_of_logits_explained_permuted": "as many, relabelled",
            },
            y="share of the variance",
        ),
        Bars(
            "spectrum",
            "Frequencies in the embedding",
            table="embedding_spectrum",
            x=("frequency",),
            y="share",
            x_label="frequency",
            y_label="share of the variance",
            null="share_permuted_95",
        ),
        Bars(
            "logits",
            "Frequencies in the held-out logits",
            table="frequencies",
            x=("frequency",),
            y="judged_share",
            x_label="frequency",
            y_label="share of the variance",
        ),
        HeatMap(
            "neurons",
            "Frequencies in the neurons as functions of both operands",
            array="neuron_power",
            x_label="frequency in b",
            y_label="frequency in a",
            value="share of the variance",
        ),
    ],
)
def fourier(subject: Subject, settings: FourierSettings) -> Finding:
    """Spectra over the elements of the cyclic group in which the task adds.

    For each answer that is a sum s of two operands a and b in a cyclic group of order n (``Task.
    cyclic_groups``; elements are numbered so that the group adds numbers modulo n), with
    w_k = 2πk / n and the real Fourier basis 1, cos w_k x, sin w_k x (k = 1 … n // 2):

    - **Sparsity** (Nanda et al., "Progress measures for grokking via mechanistic interpretability",
      2023): the Gini coefficient (Hurley and Rickard, 2009) of the norms of the components that are
      not constant, of the rows of the embedding (``gini_embedding``), of the activations of the
      last MLP's neurons at the position of the answer as functions of a and b, with a norm over
      neurons for each product of a component in a and one in b (``gini_neurons``), and of the
      neuron-logit map W_U W_out as a function of the answer (``gini_neuron_logit_map``). It is
      between 0 (all equal) and 1 - 1/C for C components. ``…_permuted`` is its mean over random
      relabellings of the elements, which keep everything but the group's structure; the table
      ``gini`` has the 95th percentile and the p-value.
    - **Key frequencies**: see :func:`ablab.analysis.methods.key_frequencies.find_key_frequencies`.
      They are chosen on one half of the held-out samples. ``share_of_logits_explained`` is the
      share of the variance of the logits of the other half (over samples and answers c, minus each
      sample's mean over c, which no probability depends on) that Σ_k α_k cos w_k (s - c) explains,
      with the α_k of the first half; ``share_of_logits_explained_permuted`` is the mean of that for
      relabelled answers and as many frequencies, those that explain most.
    - **What cancels**: the share of the squared norm that is not in the directions cos w_k c and
      sin w_k c of the key frequencies, of W_U W_out (``map_outside_key_directions``), or not in the
      directions cos w_k s and sin w_k s as functions of a and b, of the neurons
      (``neurons_outside_key_directions``), of the logits that they write through W_U W_out
      (``mlp_logits_outside_key_directions``), and of all logits
      (``logits_outside_key_directions``). Constant parts do not count. The table ``terms`` has all
      terms of all frequencies.

    Where the answer has a carry (digits of a sum), s includes it, but a, b and directions in (a, b)
    do not. Values of samples with the same a and b are averaged. Products (a · b modulo a prime)
    are sums of discrete logarithms; samples with a zero are left out.

    What these numbers do not show: a sparse spectrum does not tell which computation uses it, and a
    frequency in the embedding need not reach the logits. The neuron-logit map is the direct path
    from the last MLP; with a norm before the logits, it is up to the number by which the norm
    divides. A model that memorizes has key frequencies in its training samples' logits only
    (``train_share`` of the table ``frequencies``). Shares of the variance do not tell how much the
    loss depends on a frequency; see ``progress``.
    """
    every = cyclic_samples(subject, settings.answer)
    own_mlp = last_mlp(subject.model)
    found = forward_pass(subject, [] if own_mlp is None else [own_mlp.post])
    answers = [_Answer(subject, own, own_mlp, found, settings) for own in every]
    tables: dict[str, list[pl.DataFrame]] = {}
    scalars: dict[str, float | None] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for each in answers:
        prefix = f"{each.samples.answer}/" if len(answers) > 1 else ""
        scalars |= named(prefix, each.scalars())
        arrays |= named(prefix, each.arrays())
        for name, table in each.tables().items():
            label = pl.lit(each.samples.answer).alias("answer")
            tables.setdefault(name, []).append(table.select(label, pl.all()))
    return Finding(scalars, {name: pl.concat(rows) for name, rows in tables.items()}, arrays)


class _Answer:
    """The spectra for one answer."""

    def __init__(
        self,
        subject: Subject,
        samples: CyclicSamples,
        mlp: LastMlp | None,
        found: Pass,
        settings: FourierSettings,
    ) -> None:
        n, elements = samples.order, samples.group.elements
        self.samples = samples
        logits = samples.at_answer(found.logits)
        self._keys = find_key_frequencies(
            logits,
            samples,
            level=settings.level,
            smallest_share=settings.smallest_share,
            seed=settings.seed,
        )
        self._logits = samples.cell_means(element_logits(logits, samples))
        self._orders = relabellings(n, settings.permutations, settings.seed)
        weight = subject.model.get_parameter("embedding.weight").detach().double().numpy()
        self._matrices = {"embedding": weight[elements]}
        wholes = {"embedding": float(np.linalg.norm(weight[elements]))}
        self._maps: Values | None = None
        if mlp is not None:
            self._maps = samples.cell_means(samples.at_answer(found.sites[mlp.post]))
            logit_map = mlp.logit_map()
            if logit_map is not None:
                own = logit_map[elements]
                self._matrices["neuron_logit_map"] = own - own.mean(0)
                wholes["neuron_logit_map"] = float(np.linalg.norm(own))
        self._spectra = {
            name: (
                component_norms(matrix),
                np.stack([component_norms(matrix, order) for order in self._orders]),
            )
            for name, matrix in self._matrices.items()
        }
        self._sparsities = {
            name: sparsity(norms[1:], null[:, 1:], wholes[name])
            for name, (norms, null) in self._spectra.items()
        }
        if self._maps is not None:
            self._pairs, self._sparsities["neurons"] = self._neurons(self._maps)
        self._terms = {
            name: None if maps is None else term_shares(maps, samples.group.coefficients)
            for name, maps in self._both_sides().items()
        }

    def _neurons(self, maps: Values) -> tuple[Values, Sparsity]:
        """The norms of products of components, and their sparsity."""
        exact = torch.from_numpy(maps)
        rough = exact.float()  # for the null, which takes most of the time
        pairs = pair_norms(exact)
        orders = self._orders[:_NEURON_PERMUTATIONS]
        null = np.stack([pair_norms(rough, order).ravel()[1:] for order in orders])
        return pairs, sparsity(pairs.ravel()[1:], null, float(np.linalg.norm(maps)))

    def scalars(self) -> dict[str, float | None]:
        """The scalars by name."""
        keys, found = self._keys, {}
        for name in ("embedding", "neurons", "neuron_logit_map"):
            own = self._sparsities.get(name)
            found[f"gini_{name}"] = None if own is None else own.gini
            found[f"gini_{name}_permuted"] = None if own is None else own.permuted_mean
        found["key_frequencies"] = None if keys.keys is None else float(len(keys.keys))
        found["share_of_logits_explained"] = keys.explained
        found["share_of_logits_explained_permuted"] = keys.explained_permuted
        return found | self._outside()

    def _outside(self) -> dict[str, float | None]:
        """Shares outside of the directions of the key frequencies."""
        keys = self._keys.keys
        found: dict[str, float | None] = {
            "map_outside_key_directions": None,
            "map_outside_key_directions_permuted": None,
        }
        if keys is None:
            return found | {f"{name}_outside_key_directions": None for name in self._terms}
        if "neuron_logit_map" in self._spectra:
            norms, null = self._spectra["neuron_logit_map"]
            found["map_outside_key_directions"] = _outside(norms, keys)
            permuted = [_outside(each, keys) for each in null]
            known = [each for each in permuted if each is not None]
            found["map_outside_key_directions_permuted"] = float(np.mean(known)) if known else None
        for name, shares in self._terms.items():
            found[f"{name}_outside_key_directions"] = share_outside(shares, keys)
        return found

    def _both_sides(self) -> dict[str, Values | None]:
        """Functions of a and b before and after the neuron-logit map, (n, n, …)."""
        logit_map = self._matrices.get("neuron_logit_map")
        written = None
        if self._maps is not None and logit_map is not None:
            flat = self._maps.reshape(-1, len(logit_map.T)) @ logit_map.T  # one product is faster
            written = flat.reshape(*self._maps.shape[:2], -1)
        return {"neurons": self._maps, "mlp_logits": written, "logits": self._logits}

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables by name, without the name of the answer."""
        found = {"frequencies": _frequency_table(self._keys), "terms": self._term_table()}
        for name, (norms, null) in self._spectra.items():
            found[f"{name}_spectrum"] = _spectrum_table(norms, null)
        rows = [{"of": name, **vars(own)} for name, own in sorted(self._sparsities.items())]
        found["gini"] = pl.DataFrame(rows, schema_overrides=dict.fromkeys(_GINI, pl.Float64))
        return found

    def _term_table(self) -> pl.DataFrame:
        n = self.samples.order
        columns: dict[str, Any] = {
            "frequency": np.repeat(np.arange(1, n // 2 + 1), len(TERMS)),
            "key": np.repeat(self._keys.is_key, len(TERMS)),
            "term": list(TERMS) * (n // 2),
        }
        for name, shares in self._terms.items():
            columns[name] = [None] * len(columns["term"]) if shares is None else shares.ravel()
        return pl.DataFrame(columns, schema_overrides=dict.fromkeys(_SIDES, pl.Float64))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        if self._maps is None:
            return {}
        frequencies = frequencies_of(self.samples.order)
        members = frequencies == np.arange(frequencies.max() + 1)[:, None]  # (F + 1, n)
        power = members @ self._pairs**2 @ members.T
        whole, power[0, 0] = power.sum(), 0  # without the constant
        total = power.sum()
        share = power / total if total > ROUNDING * whole else np.zeros_like(power)
        return {"neuron_power": share.astype(np.float32)}


_GINI = ("gini", "permuted_mean", "permuted_95", "p")
_SIDES = ("neurons", "mlp_logits", "logits")


def _outside(norms: Values, keys: tuple[int, ...]) -> float | None:
    """The share of the squared norm that is at other frequencies than the keys."""
    frequencies = frequencies_of(len(norms))
    squares = norms[1:] ** 2
    total = squares.sum()
    return float(1 - squares[np.isin(frequencies[1:], keys)].sum() / total) if total else None


def _spectrum_table(norms: Values, null: Values) -> pl.DataFrame:
    """Norms by frequency, 0 for the constant component."""
    n = len(norms)
    frequencies = np.arange(n // 2 + 1)
    members = frequencies_of(n) == frequencies[:, None]  # (F + 1, n)
    sine = np.full(len(frequencies), np.nan)
    sine[1 : (n + 1) // 2] = norms[2::2]
    total = (norms[1:] ** 2).sum() or 1.0
    shares, null_shares = members @ norms**2 / total, null**2 @ members.T / total
    table = pl.DataFrame(
        {
            "frequency": frequencies,
            "cosine": np.concatenate([norms[:1], norms[1::2]]),
            "sine": sine,
            "share": shares,
            "share_permuted_mean": null_shares.mean(0),
            "share_permuted_95": np.quantile(null_shares, 0.95, axis=0),
        }
    ).with_columns(pl.col("sine").fill_nan(None))
    shown = [pl.when(pl.col("frequency") > 0).then(pl.col(each)).alias(each) for each in _SHARES]
    return table.with_columns(shown)


_SHARES = ("share", "share_permuted_mean", "share_permuted_95")


def _frequency_table(keys: KeyFrequencies) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "frequency": keys.frequencies,
            "key": keys.is_key,
            "amplitude": keys.amplitudes,
            "chosen_share": keys.chosen_share,
            "p": keys.p,
            "judged_share": keys.judged_share,
            "train_share": [None] * len(keys.p) if keys.train_share is None else keys.train_share,
        },
        schema_overrides={"train_share": pl.Float64},
    )
