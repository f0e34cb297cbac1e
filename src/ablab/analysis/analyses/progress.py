"""Progress measures of grokking: restricted and excluded losses."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from ablab.analysis.analysis import NOT_NEGATIVE, analysis
from ablab.analysis.figures import Bars, Curves
from ablab.analysis.finding import Finding
from ablab.analysis.methods.cyclic import CyclicSamples, cyclic_samples, forward_pass, named
from ablab.analysis.methods.key_frequencies import (
    PERMUTATIONS,
    checked_frequencies,
    element_logits,
    find_key_frequencies,
    squared_length,
)
from ablab.analysis.methods.last_mlp import LastMlp, last_mlp, logits_with_neurons
from ablab.analysis.methods.losses import cross_entropies, weighted_mean
from ablab.analysis.methods.read_out import read_out
from ablab.analysis.subject import Subject
from ablab.config import Config

Values = NDArray[np.float64]


class ProgressSettings(Config):
    """Settings of ``progress``."""

    frequencies: tuple[int, ...] | None = None
    """The key frequencies; null: those that ``fourier`` finds at the run's last step."""
    answer: str | None = None
    """The answer that is looked at, such as ``digit_1`` of an addition; null: all."""
    level: float = Field(0.01, ge=1 / (PERMUTATIONS + 1), lt=1)
    """The probability of a key frequency in a model without any."""
    smallest_share: float = Field(0.005, ge=0, lt=1)
    """The smallest share of the logits' variance that a key frequency explains."""
    seed: int = Field(0, ge=0)
    """The seed of the search for key frequencies."""


@analysis(
    "progress",
    question="Does a circuit of the final key frequencies grow before the held-out loss falls?",
    inputs=["model", "task", "last_model"],
    cost="one forward pass, one of the run's last model, and eight losses for each key frequency",
    settings=ProgressSettings,
    headline=[
        "*key_frequencies",
        "*loss_train",
        "*loss_held_out",
        "*excluded_loss_logits_train",
        "*excluded_loss_neurons_train",
        "*restricted_loss_logits_held_out",
        "*restricted_loss_neurons_held_out",
        "*sum_of_squared_weights",
    ],
    edition=4,
    limits={"*": NOT_NEGATIVE},
    directions=dict.fromkeys(
        ("*loss_train", "*loss_held_out", "*restricted_loss_*", "*trigonometric_loss"), "lower"
    ),
    figures=[
        Curves(
            "losses",
            "Losses with only, and without, the final key frequencies",
            scalars={
                "loss_train": "training",
                "loss_held_out": "held out",
                "excluded_loss_logits_train": "excluded, training",
                "restricted_loss_logits_held_out": "restricted, held out",
            },
            y="loss (nats)",
            logarithmic=True,
        ),
        Curves(
            "neuron_losses",
            "The same in the neurons",
            scalars={
                "excluded_loss_neurons_train": "excluded, training",
                "restricted_loss_neurons_held_out": "restricted, held out",
            },
            y="loss (nats)",
            logarithmic=True,
        ),
        Curves(
            "weights",
            "Sum of squared weights",
            scalars={"sum_of_squared_weights": "all parameters"},
            y="sum of squares",
            logarithmic=True,
        ),
        Bars(
            "excluded",
            "Training loss without single frequencies",
            table="frequencies",
            x=("frequency",),
            y="excluded_loss_logits_train",
            x_label="frequency",
            y_label="loss (nats)",
        ),
    ],
)
def progress(subject: Subject, settings: ProgressSettings) -> Finding:
    """Restricted and excluded losses of Nanda et al. (2023), in the logits and in the neurons.

    "Progress measures for grokking via mechanistic interpretability". With the key frequencies k,
    w_k = 2πk / n, and the sum s of the operands in the cyclic group (with the carry into a digit,
    if there is one), a function y of the samples is the weighted least-squares fit

        y = constant + Σ_k (β_k cos w_k s + γ_k sin w_k s) + rest

    over all samples of the probe, those of training and the others.

    - **Restricted loss**: the loss with the rest removed. Near zero when the circuit of the key
      frequencies is there by itself.
    - **Excluded loss**: the loss with the sum over k removed, and the constant and the rest kept.
      On training samples it tells how much they are memorized: it is low while a model memorizes,
      and rises when it relies on the key frequencies.

    Both exist in two versions, which are different numbers. ``…_logits``: y are the logits of all
    tokens, as in the paper. ``…_neurons``: y are the activations of the last MLP's neurons at the
    position of the answer, and the rest of the model, with its residual path, computes the logits
    from the changed activations.

    ``trigonometric_loss`` is the loss of the logits Σ_k α_k cos w_k (s - c) over the elements c
    alone, with the α_k fitted to the model's logits over all samples; it is the same for all
    samples. ``sum_of_squared_weights`` is Σ w² over all parameters. Each other loss ends in
    ``_train`` or ``_held_out``, or in ``_all`` if the split is not known; it is the mean in nats
    over samples in the group at the position of the answer. ``loss`` is the model's own. The table
    ``frequencies`` has the losses with only one key frequency, and without one.

    The key frequencies are those of the run's **last kept step**, found by the rule of
    :func:`ablab.analysis.methods.key_frequencies.find_key_frequencies`, so that earlier steps are
    measured by the final circuit; if the logits of that step are not finite, the numbers are None.
    For a model from elsewhere they are its own, and the setting ``frequencies`` gives them
    explicitly. Without any, the restricted loss is that of a constant, and the excluded loss is the
    model's own.

    What they do not show: a model may compute the answer with waves in s without the circuit of the
    paper. When few samples are memorized, a high excluded loss on training samples does not tell
    memorization from chance. The fit uses training samples too, so a memorized part that follows
    s, as one that is the same for all frequencies does, counts as a part of the circuit.
    """
    every = cyclic_samples(subject, settings.answer)
    mlp = last_mlp(subject.model)
    scalars: dict[str, float | None] = {}
    tables = []
    for own in every:
        measured = _Measured(subject, own, mlp, _keys(subject, own, settings))
        prefix = f"{own.answer}/" if len(every) > 1 else ""
        scalars |= named(prefix, measured.scalars())
        label = pl.lit(own.answer).alias("answer")
        tables.append(measured.table().select(label, pl.all()))
    squares = sum(float(each.detach().double().square().sum()) for each in _weights(subject))
    scalars["sum_of_squared_weights"] = squares
    return Finding(scalars, {"frequencies": pl.concat(tables)})


def _weights(subject: Subject) -> Sequence[Tensor]:
    return list(subject.model.parameters())


def _keys(
    subject: Subject, own: CyclicSamples, settings: ProgressSettings
) -> tuple[int, ...] | None:
    """The key frequencies: those that are given, or those of the run's last step.

    None if the logits of that step are not finite.
    """
    if settings.frequencies is not None:
        return checked_frequencies(settings.frequencies, own.order)
    last = subject.last
    options = (settings.level, settings.smallest_share, settings.seed)
    key = ("key_frequencies", own.answer, *options)
    if key not in last.memo:
        logits = own.at_answer(forward_pass(last, []).logits)
        level, smallest_share, seed = options
        found = find_key_frequencies(
            logits, own, level=level, smallest_share=smallest_share, seed=seed
        )
        last.memo[key] = found.keys
    keys: tuple[int, ...] | None = last.memo[key]
    return keys


class _Measured:
    """The losses for one answer."""

    def __init__(
        self,
        subject: Subject,
        samples: CyclicSamples,
        mlp: LastMlp | None,
        known: tuple[int, ...] | None,
    ) -> None:
        keys = known or ()
        self._samples, self._keys, self._subject, self._mlp = samples, keys, subject, mlp
        self._is_known = known is not None
        found = forward_pass(subject, [] if mlp is None else mlp.sites)
        self._logits = samples.at_answer(found.logits)
        self._targets = torch.from_numpy(samples.targets)
        self._neurons = None if mlp is None else samples.at_answer(found.sites[mlp.post])
        self._read_out = None if mlp is None else read_out(mlp, found, samples.rows, samples.place)
        self._fits = {
            "logits": _Fit(samples, keys, self._logits),
            "neurons": None if self._neurons is None else _Fit(samples, keys, self._neurons),
        }

    def scalars(self) -> dict[str, float | None]:
        """The scalars by name, without the sum of squared weights."""
        found: dict[str, float | None] = {"key_frequencies": float(len(self._keys))}
        losses = self._losses("loss", self._logits)
        found |= losses | self._changed(self._keys) | {"trigonometric_loss": self._trigonometric()}
        return found if self._is_known else dict.fromkeys(found) | losses

    def table(self) -> pl.DataFrame:
        """A row for each key frequency."""
        rows: list[dict[str, Any]] = [{"frequency": k, **self._changed((k,))} for k in self._keys]
        columns = dict.fromkeys(self._changed(()), pl.Float64)
        return pl.DataFrame(rows, schema={"frequency": pl.Int64, **columns})

    def _changed(self, keys: tuple[int, ...]) -> dict[str, float | None]:
        """The restricted and the excluded losses for some of the frequencies."""
        found: dict[str, float | None] = {}
        for where, fit in self._fits.items():
            for kind in ("restricted", "excluded"):
                name = f"{kind}_loss_{where}"
                if fit is None:
                    found |= {f"{name}_{part}": None for part in self._samples.parts}
                    continue
                left, right = fit.restricted(keys) if kind == "restricted" else fit.removed(keys)
                if where == "neurons":
                    logits = self._from_neurons(kind, left, right)
                else:
                    logits = left @ right + (self._logits if kind == "excluded" else 0)
                found |= self._losses(name, logits)
        return found

    def _from_neurons(self, kind: str, left: Values, right: Values) -> Values:
        """The logits for activations that are a product, added to the model's own if excluded."""
        if self._read_out is not None:
            own = self._read_out if kind == "excluded" else self._read_out.without_neurons()
            logits: Values = own.with_changes(*map(torch.from_numpy, (left, right))).numpy()
            return logits
        assert self._mlp is not None and self._neurons is not None, "there are neurons"
        neurons = left @ right + (self._neurons if kind == "excluded" else 0)
        tokens = torch.from_numpy(self._subject.probe.tokens[self._samples.rows])
        position = self._samples.group.answer_position
        return logits_with_neurons(self._mlp, tokens, position, neurons)

    def _trigonometric(self) -> float:
        """The loss of the fitted waves, which is the same for all samples."""
        samples = self._samples
        n, numbers = samples.order, np.arange(samples.order)
        centred = element_logits(self._logits, samples)
        logits = np.zeros(n)  # of the answers c as s - c runs through all elements
        for k in self._keys:
            waves = np.cos(2 * np.pi * k * (samples.sums[:, None] - numbers) / n)
            alpha = samples.weights @ (centred * waves).sum(-1) / squared_length(n)[k - 1]
            logits += alpha * np.cos(2 * np.pi * k * numbers / n)
        return float(cross_entropies(torch.from_numpy(logits)[None], torch.tensor([0])))

    def _losses(self, name: str, logits: Values) -> dict[str, float | None]:
        """The mean loss of each part of the samples."""
        values = cross_entropies(torch.from_numpy(logits), self._targets).numpy()
        weights = self._samples.weights
        return {
            f"{name}_{part}": weighted_mean(values, weights, own)
            for part, own in self._samples.parts.items()
        }


class _Fit:
    """The least-squares fit of functions of the samples by waves in the sum. Axes: S, C functions.

    Args:
        samples: The samples.
        keys: The frequencies.
        values: The functions, (S, C).
    """

    def __init__(self, samples: CyclicSamples, keys: tuple[int, ...], values: Values) -> None:
        n = samples.order
        angles = 2 * np.pi * np.outer(samples.sums, keys) / n
        waves = [np.cos(angles), np.sin(angles[:, [2 * k < n for k in keys]])]
        self._design = np.concatenate([np.ones((len(angles), 1)), *waves], axis=-1)
        self._frequencies = np.array([0, *keys, *(k for k in keys if 2 * k < n)])
        root = np.sqrt(samples.weights)[:, None]
        self._coefficients = np.linalg.lstsq(root * self._design, root * values)[0]

    def restricted(self, keys: tuple[int, ...]) -> tuple[Values, Values]:
        """The constant and the waves of some frequencies, as a product (S, r), (r, C)."""
        return self._part((0, *keys))

    def removed(self, keys: tuple[int, ...]) -> tuple[Values, Values]:
        """What removes the waves of some frequencies, as a product (S, r), (r, C)."""
        left, right = self._part(keys)
        return left, -right

    def _part(self, frequencies: tuple[int, ...]) -> tuple[Values, Values]:
        own = np.isin(self._frequencies, frequencies)
        return self._design[:, own], self._coefficients[own]
