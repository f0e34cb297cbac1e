"""The neurons of the last MLP as functions of both operands, and which of them matter."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ablab.analysis.analysis import AT_MOST_ONE, NOT_NEGATIVE, SHARE, analysis
from ablab.analysis.figures import Bars, Curves, HeatMap
from ablab.analysis.finding import Finding
from ablab.analysis.methods.cyclic import CyclicSamples, cyclic_samples, forward_pass, named
from ablab.analysis.methods.fourier_basis import fourier_basis, frequencies_of
from ablab.analysis.methods.last_mlp import LastMlp, require_mlp
from ablab.analysis.methods.neuron_ablation import (
    AblatedSets,
    Curve,
    ablate_each,
    curve,
    in_enough_precision,
)
from ablab.analysis.methods.nine_terms import fit_nine_terms
from ablab.analysis.methods.read_out import read_out
from ablab.analysis.passes import Pass
from ablab.analysis.subject import Subject
from ablab.config import Config

Values = NDArray[np.float64]

_ALWAYS = 0.99  # the share of samples on which an always active neuron is active
_DEAD = 1e-6  # of the largest activation: the range of a neuron that does not vary
_SHARES = (0.5, 0.9, 0.99)  # of the change of the loss, for which neurons are counted


class NeuronsSettings(Config):
    """Settings of ``neurons``."""

    answer: str | None = None
    """The answer that is looked at, such as ``digit_1`` of an addition; null: all."""
    explained: float = Field(0.85, gt=0, le=1)
    """The share of a neuron's variance that nine terms must explain for it to be in the cluster of
    their frequency."""
    level: float = Field(0.05, gt=0, lt=1)
    """The largest corrected p-value of neurons in a cluster, and of those that matter."""
    permutations: int = Field(100, ge=20, le=10_000)
    """Random relabellings of the elements for the control."""
    maps: int = Field(16, ge=0)
    """The number of neurons whose maps are kept, those that matter most."""
    seed: int = Field(0, ge=0)
    """The seed of relabellings, folds and halves."""


@analysis(
    "neurons",
    question="What does each neuron compute of the two operands, and which neurons matter?",
    inputs=["model", "task"],
    cost="one forward pass, a loss for each neuron, and a Fourier transform for each relabelling",
    settings=NeuronsSettings,
    headline=[
        "*neurons_of_one_frequency",
        "*frequencies",
        "*always_active",
        "*dead",
        "*median_explained",
        "*median_fitted",
        "*median_fitted_permuted",
        "*neurons_for_90_percent",
    ],
    limits={
        "*share_of_one_frequency": SHARE,
        "*median_fitted*": SHARE,
        "*median_explained": AT_MOST_ONE,
        **dict.fromkeys(("*neurons_*", "*always_active", "*dead", "*frequencies"), NOT_NEGATIVE),
    },
    figures=[
        HeatMap(
            "maps",
            "Activations of the neurons that matter most",
            array="maps",
            x_label="b",
            y_label="a",
            value="activation",
            sort_by=("maps", "frequency"),
            name_sorts=True,
            panel="neuron",
            number_by=("maps", "neuron"),
        ),
        Bars(
            "explained",
            "Share of each neuron that nine terms of one frequency explain",
            table="neurons",
            x=("neuron",),
            y="fitted",
            x_label="neuron",
            y_label="share of the variance",
            null="fitted_permuted_95",
            sort=True,
        ),
        Bars(
            "clusters",
            "Neurons by what they compute",
            table="clusters",
            x=("cluster",),
            y="neurons",
            x_label="",
            y_label="neurons",
        ),
        Bars(
            "curve",
            "Loss with the neurons that matter most ablated",
            table="curve",
            x=("neurons",),
            y="removed",
            x_label="ablated neurons",
            y_label="loss (nats)",
            line=True,
        ),
        Curves(
            "training",
            "Share of neurons of one frequency",
            scalars={"share_of_one_frequency": "neurons that vary"},
            y="share of the neurons",
        ),
    ],
    edition=4,
)
def neurons(subject: Subject, settings: NeuronsSettings) -> Finding:
    """The last MLP's neurons at the position of the answer, for each answer with a cyclic group.

    - **Nine terms** (Nanda et al., "Progress measures for grokking via mechanistic
      interpretability", 2023). The activation as a function of the operands a and b is fitted by
      1, cos wa, sin wa, cos wb, sin wb and the four products of one in a and one in b, with
      w = 2πk / n. ``explained`` is 1 - residual / variance in one half of the pairs, for a fit to
      the other half with the frequency k that fits best there, averaged over both ways.
      ``fitted`` is the share that the best frequency explains if it is fitted and judged on all
      pairs. ``fitted_permuted_mean`` and ``…_95`` are the mean and the 95th percentile of that if
      the elements are relabelled at random, in the same way for a and b; ``p`` is the p-value of
      that test (beyond all permutations, that of a Gumbel distribution:
      :func:`ablab.analysis.methods.nine_terms.maximum_p`), and ``p_corrected`` the same after
      Benjamini and Hochberg (1995) over the neurons.
    - **Kinds.** ``dead``: the activation is the same for all samples (up to 1e-6 of the largest
      activation of all neurons). ``always_active``: the input of the activation function is
      positive on at least 99% of the samples. ``frequency``: nine terms of one frequency explain at
      least 85% (setting ``explained``), with a corrected p-value of at most 5% (``level``).
      ``other``: the rest. The table ``clusters`` counts them, and has the change of the loss if all
      neurons of a cluster are ablated together.
    - **Mean ablation.** ``change`` is the mean change of the loss in nats if the activation is
      replaced by its mean over the samples, for all samples, training and held-out ones;
      ``change_error`` its standard error over samples, and ``change_p`` the one-sided p-value of a
      change above zero (normal approximation), corrected as above. Where the MLP is in the last
      block and at most one norm follows, which only divides, the change of the logits is computed
      without a pass of the model.
    - **How few matter.** The neurons are sorted by their change on one half of the samples. On the
      other half, ``neurons_for_90_percent`` is the number of ablated neurons from which on the
      change is at least 90% of that by ablating all, and ``neurons_retained_for_90_percent`` the
      number of retained neurons, with all others ablated, from which on at least 90% of it is
      undone. Above 16 neurons, steps are 12%. The table ``curve`` has the losses, beside those for
      neurons in a random order. The curve need not be monotonic: half of a cluster can do harm.
      Numbers of neurons are none if ablating all does not raise the loss (p > 0.05).

    Arrays: ``maps``, the activations (m, n, n) by a and b of the neurons of the table ``maps``,
    those with the largest change; ``map_power``, their share of the variance by the frequency in a
    and the frequency in b (m, F + 1, F + 1); ``shares``, the share that each frequency explains of
    each neuron, (M, F), fitted and judged on all pairs.

    What they do not show: neurons that compute the same replace each other, so single ablations can
    all be small where their sum is large. The mean of an activation is not what the neuron would
    give for any input. The error and the p-values of changes are about the samples of one model;
    between models, the seed is the unit, and neurons have no identity. A neuron of one frequency
    need not be used. Values of samples with the same operands (as with other digits) are averaged
    in maps and fits.
    """
    every = cyclic_samples(subject, settings.answer)
    mlp = require_mlp(subject.model)
    found = forward_pass(subject, [*mlp.sites, mlp.pre])
    scalars: dict[str, float | None] = {}
    arrays: dict[str, NDArray[Any]] = {}
    tables: dict[str, list[pl.DataFrame]] = {}
    for own in every:
        answer = _Answer(subject, own, mlp, found, settings)
        prefix = f"{own.answer}/" if len(every) > 1 else ""
        scalars |= named(prefix, answer.scalars())
        arrays |= named(prefix, answer.arrays())
        label = pl.lit(own.answer).alias("answer")
        for name, table in answer.tables().items():
            tables.setdefault(name, []).append(table.select(label, pl.all()))
    return Finding(scalars, {name: pl.concat(rows) for name, rows in tables.items()}, arrays)


class _Answer:
    """The neurons for one answer."""

    def __init__(
        self,
        subject: Subject,
        samples: CyclicSamples,
        mlp: LastMlp,
        found: Pass,
        settings: NeuronsSettings,
    ) -> None:
        self._samples, self._settings = samples, settings
        self._activations = samples.at_answer(found.sites[mlp.post])
        self._active = samples.weights @ (samples.at_answer(found.sites[mlp.pre]) > 0)
        self._maps = samples.cell_means(self._activations)
        self._fits = fit_nine_terms(self._maps, settings.permutations, settings.seed)
        exact = read_out(mlp, found, samples.rows, samples.place)
        self._read_out = None if exact is None else in_enough_precision(exact)
        self._ablations = ablate_each(subject, samples, mlp, self._read_out)
        self._kinds = self._kind_of_each()
        self._curve: Curve | None = None
        if self._read_out is not None:
            changes = self._ablations.changes
            self._curve = curve(samples, self._read_out, changes, settings.seed)

    def _kind_of_each(self) -> NDArray[np.str_]:
        fits, settings = self._fits, self._settings
        size = np.abs(self._activations).max(initial=0)
        dead = np.ptp(self._activations, axis=0) <= _DEAD * size
        fitted = (fits.explained >= settings.explained) & (fits.p_corrected <= settings.level)
        kinds = np.where(fitted, "frequency", "other")
        kinds = np.where(self._active >= _ALWAYS, "always_active", kinds)
        return np.where(dead, "dead", kinds)

    def scalars(self) -> dict[str, float | None]:
        """The scalars by name."""
        kinds, fits = self._kinds, self._fits
        alive = kinds != "dead"
        fitted = kinds == "frequency"
        found: dict[str, float | None] = {
            "neurons_of_one_frequency": float(fitted.sum()),
            "share_of_one_frequency": float(fitted.sum() / alive.sum()) if alive.any() else None,
            "frequencies": float(len(np.unique(fits.frequency[fitted]))),
            "always_active": float((kinds == "always_active").sum()),
            "dead": float((kinds == "dead").sum()),
            "median_explained": _median(fits.explained),
            "median_fitted": _median(fits.in_sample.max(1)),
            "median_fitted_permuted": fits.permuted_median,
            "neurons_that_matter": None,
            "change_without_neurons": None,
        }
        if not np.isfinite(self._activations).all():
            found = dict.fromkeys(found)
        p = self._ablations.p_corrected
        if np.isfinite(p).all():
            found["neurons_that_matter"] = float((p <= self._settings.level).sum())
        own = self._curve
        if own is not None:
            found["change_without_neurons"] = float(own.removed[-1] - own.removed[0])
        for share in _SHARES:
            name = f"for_{100 * share:g}_percent"
            found[f"neurons_{name}"] = None if own is None else own.fewest_removed(share)
            found[f"neurons_retained_{name}"] = None if own is None else own.fewest_retained(share)
        return found

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables by name, without the name of the answer."""
        shown, neurons = self._shown(), self._neuron_table()
        found = {
            "neurons": neurons,
            "clusters": self._cluster_table(),
            "maps": neurons[shown].select("neuron", "change", "frequency"),
        }
        if self._curve is not None:
            columns = ("neurons", "removed", "retained", "random")
            found["curve"] = pl.DataFrame({name: vars(self._curve)[name] for name in columns})
        return found

    def _neuron_table(self) -> pl.DataFrame:
        fits, ablations, samples = self._fits, self._ablations, self._samples
        columns: dict[str, Any] = {
            "neuron": np.arange(len(self._kinds)),
            "kind": self._kinds,
            "frequency": fits.frequency,
            "explained": fits.explained,
            "fitted": fits.in_sample.max(1),
            "fitted_permuted_mean": fits.permuted_mean,
            "fitted_permuted_95": fits.permuted_95,
            "p": fits.p,
            "p_corrected": fits.p_corrected,
            "active": self._active,
            "mean": samples.weights @ self._activations,
            "deviation": self._deviations(),
            "change": ablations.change,
        }
        for part, own in samples.parts.items():
            weights = samples.weights[own] / samples.weights[own].sum()
            columns[f"change_{part}"] = weights @ ablations.changes[own]
        columns["change_error"] = ablations.error
        columns["change_p"] = ablations.p
        columns["change_p_corrected"] = ablations.p_corrected
        table = pl.DataFrame(columns)
        frequency = pl.when(pl.col("frequency") > 0).then(pl.col("frequency"))
        return table.with_columns(frequency, pl.selectors.float().fill_nan(None))

    def _deviations(self) -> Values:
        """The standard deviation of each neuron over the samples, (M,)."""
        weights = self._samples.weights
        deviations = self._activations - weights @ self._activations
        found: Values = np.sqrt(weights @ np.square(deviations))
        return found

    def _cluster_table(self) -> pl.DataFrame:
        """A row for each cluster, with the change of the loss without it."""
        of = np.where(self._kinds == "frequency", self._fits.frequency, -1)
        sets, base = None, 0.0
        if self._read_out is not None:
            every = np.ones(len(self._samples.rows), dtype=bool)
            sets = AblatedSets(self._samples, self._read_out, every)
            base = sets.loss(np.array([], dtype=np.int64))
        rows = []
        for kind in ("frequency", "always_active", "other", "dead"):
            for frequency in np.unique(of[self._kinds == kind]):
                own = np.flatnonzero((self._kinds == kind) & (of == frequency))
                rows.append(
                    {
                        "cluster": f"{kind} {frequency}" if frequency > 0 else kind,
                        "kind": kind,
                        "frequency": int(frequency) if frequency > 0 else None,
                        "neurons": len(own),
                        "change": None if sets is None else sets.loss(own) - base,
                    }
                )
        schema = {
            "cluster": pl.String,
            "kind": pl.String,
            "frequency": pl.Int64,
            "neurons": pl.Int64,
        }
        return pl.DataFrame(rows, schema=schema | {"change": pl.Float64})

    def _shown(self) -> NDArray[np.int64]:
        """The neurons whose maps are kept, the largest change first."""
        order = np.argsort(-self._ablations.change, kind="stable")
        found: NDArray[np.int64] = order[: self._settings.maps]
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        n, shown = self._samples.order, self._shown()
        maps = self._maps[:, :, shown]
        basis, frequencies = fourier_basis(n), frequencies_of(n)
        power = np.square(np.einsum("ia,jb,abm->mij", basis, basis, maps, optimize=True))
        power[:, 0, 0] = 0
        members = (frequencies == np.arange(frequencies.max() + 1)[:, None]).astype(np.float64)
        power = members @ power @ members.T
        totals = power.sum((1, 2), keepdims=True)
        return {
            "maps": maps.transpose(2, 0, 1).astype(np.float32),
            "map_power": (power / np.where(totals > 0, totals, 1)).astype(np.float32),
            "shares": self._fits.in_sample.astype(np.float32),
        }


def _median(values: Values) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None
