"""On which inputs, and on which factors, neurons, heads and logits depend."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ablab.analysis.analysis import NOT_NEGATIVE, SHARE, analysis
from ablab.analysis.figures import Curves, HeatMap
from ablab.analysis.finding import Finding
from ablab.analysis.methods.resampling import corrected_array
from ablab.analysis.methods.unit_outputs import (
    Outputs,
    Unit,
    answer_position,
    answer_tokens,
    chosen_samples,
    read_outputs,
)
from ablab.analysis.methods.variance_shares import (
    Indices,
    Variances,
    dimensions,
    estimated_indices,
    exact_indices,
    is_constant,
    random_share,
)
from ablab.analysis.subject import Subject
from ablab.config import Config, match_names
from ablab.tasks.base import member
from ablab.tasks.config import IGNORED
from ablab.tasks.factors import DOES_NOT_APPLY
from ablab.tasks.probe import Probe

_FEW_FACTORS = 8
_LEVEL = 0.95


class SensitivitySettings(Config):
    """Settings of ``sensitivity``."""

    position: int | None = Field(None, ge=0)
    """The position in the input at which outputs are looked at; null: where the answer begins."""
    base_points: int = Field(1024, ge=64, le=2**16)
    """The number of samples A, and as many samples B, if not every combination can be computed."""
    threshold: float = Field(0.01, gt=0, lt=1)
    """An output depends on a position if its total index is above this, with its interval."""
    factors: tuple[str, ...] = Field(("*",), min_length=1)
    """Names or patterns of factors."""
    seed: int = Field(0, ge=0)
    """The seed of the samples A and B, and of the samples of a larger table."""


@analysis(
    "sensitivity",
    question="On which input positions does each neuron, head and logit depend, and on which "
    "factors?",
    inputs=["model", "task"],
    cost="one pass over the samples; for a large table, also one over 1,024 samples per position",
    settings=SensitivitySettings,
    headline=[
        "positions_per_neuron",
        "neurons_of_one_position",
        "neurons_of_all_positions",
        "interactions_neurons",
    ],
    limits={
        "positions_per_neuron": NOT_NEGATIVE,
        "neurons_of_*": SHARE,
        "constant_neurons": SHARE,
        "largest_share/*": SHARE,
    },
    figures=[
        Curves(
            "positions",
            "On how many input positions neurons depend",
            {
                "neurons_of_one_position": "one",
                "neurons_of_two_positions": "two",
                "neurons_of_all_positions": "all",
            },
            "share of neurons",
        ),
        HeatMap(
            "total_indices",
            "On which input positions neurons depend",
            array="total_neurons",
            x_label="input position",
            y_label="neuron",
            value="total Sobol index",
        ),
    ],
)
def sensitivity(subject: Subject, settings: SensitivitySettings) -> Finding:
    """Sobol indices for input positions, and correlation ratios for factors, of each output.

    Outputs y are neurons, heads (the vector z, and its norm), the logits of answer tokens and that
    of the right answer (minus the mean over the vocabulary), all at one position.

    **Input positions** (table ``inputs``), where the tokens at different positions are independent
    in the task's samples:

    - ``main``: Var(E[y | x_i]) / Var(y), what the token x_i at position i explains alone;
    - ``total``: E[Var(y | x_~i)] / Var(y), what remains unexplained if all other tokens are known,
      so main plus all interactions with other positions; zero if y does not depend on x_i.

    They are exact if the samples are all combinations (Sobol, 1993; Homma and Saltelli, 1996), and
    estimated otherwise, from independent uniform tokens at each position (``main``: Saltelli et
    al., 2010; ``total``: Jansen, 1999; with 95% intervals). Positions at which the token is always
    the same, and those that the output cannot see, are left out. Independence is checked: the
    number of the task's samples must be the product of the numbers of tokens at each position. If
    it is not, the table is empty, and so are the scalars from it.

    **Factors** (table ``factors``): the correlation ratio η² = Var(E[y | factor]) / Var(y), with
    the samples' weights, beside the 95th percentile of η² after a permutation of the samples, the
    p-value, and the p-value corrected over all outputs and factors (Benjamini and Hochberg, 1995).
    The distribution of permutations is approximated by a beta distribution
    (:func:`ablab.analysis.methods.variance_shares.random_share`). Of a larger table, these are at
    most 8,192 samples.

    Scalars, over neurons that are not constant: ``positions_per_neuron``, the mean number of
    positions whose total index is above the threshold with the lower end of its interval;
    ``neurons_of_one_position``, ``neurons_of_two_positions`` and ``neurons_of_all_positions``, the
    shares of neurons with so many; ``interactions_neurons`` and ``interactions_logits``, the mean
    of 1 - Σ main, which single positions do not explain; ``constant_neurons``, the share of
    neurons that are constant; and ``largest_share/FACTOR``, the largest η² of a neuron, for up to 8
    factors, else for those that the task declares.

    The array ``total_neurons`` has the total indices of all neurons by position, (M, T).

    Of more than 128 answers, there are no logits by token and no ``interactions_logits``.

    What it does not show: whether an output matters for the answer, and whether its dependence is
    what the task needs. A share of the variance depends on the distribution of inputs, and factors
    overlap: a high share of one does not exclude another. A rectified neuron depends on what moves
    it where it is active only. η² is biased upwards by about (k - 1) / N for k labels, and a
    vector's share adds its entries, whatever later layers read of it.
    """
    probe = subject.probe
    at = answer_position(subject, settings.position)
    rows = chosen_samples(probe, at, settings.seed)
    targets = probe.targets[rows, at]
    answers = answer_tokens(probe.targets[:, at])
    outputs = read_outputs(
        subject, probe.tokens[rows], at, answers, None if targets[0] == IGNORED else targets
    )
    weights = probe.weights[rows] / probe.weights[rows].sum()
    places, units, indices = _positions(subject, settings, at, rows, outputs, answers)
    inputs = _inputs_table(places, units, indices)
    factors = _factors(_labels(probe, rows, at, settings.factors), outputs, weights)
    constant = is_constant(outputs.values, outputs.units)
    scalars = _position_scalars(outputs.units, indices, constant, settings.threshold)
    arrays = {} if indices is None else {"total_neurons": _map(places, at, units, indices)}
    return Finding(
        scalars | _factor_scalars(factors, tuple(probe.names)),
        {"inputs": inputs, "factors": factors},
        arrays,
    )


def _positions(
    subject: Subject,
    settings: SensitivitySettings,
    at: int,
    rows: NDArray[np.int64],
    outputs: Outputs,
    answers: Sequence[int],
) -> tuple[Sequence[int], tuple[Unit, ...], Indices | None]:
    """The positions that vary, units, and their indices; None if positions are not independent."""
    seen = subject.probe.tokens[:, : at + 1]
    places = [place for place in range(at + 1) if (seen[:, place] != seen[0, place]).any()]
    tokens = [np.unique(seen[:, place]) for place in places]
    units, size = outputs.units, prod(map(len, tokens))
    if not places:
        return [], units, None
    if not subject.probe.whole:
        if member(subject.task, "table_size") != size:
            return [], units, None
        units, indices = _estimated(subject, settings, at, places, tokens, answers)
        return places, units, indices
    combinations, first, counts = np.unique(
        seen[:, places], axis=0, return_index=True, return_counts=True
    )
    if len(rows) < len(seen) or len(combinations) < size or (counts != counts[0]).any():
        return [], units, None
    indices = exact_indices(outputs.values[first], combinations, units)
    return places, units, indices


def _estimated(
    subject: Subject,
    settings: SensitivitySettings,
    at: int,
    places: Sequence[int],
    tokens: Sequence[NDArray[np.int64]],
    answers: Sequence[int],
) -> tuple[tuple[Unit, ...], Indices]:
    """Indices from samples A and B with independent, uniform tokens at each position."""
    rng = np.random.default_rng(settings.seed)
    bases = []
    for _ in range(2):
        base = np.repeat(subject.probe.tokens[:1], settings.base_points, axis=0)
        for place, own in zip(places, tokens, strict=True):
            base[:, place] = rng.choice(own, settings.base_points)
        bases.append(base)
    a, b = (read_outputs(subject, base, at, answers) for base in bases)
    changed = []
    for place in places:
        ab = bases[0].copy()
        ab[:, place] = bases[1][:, place]
        changed.append(read_outputs(subject, ab, at, answers).values)
    return a.units, estimated_indices(a.values, b.values, changed, a.units)


def _labels(
    probe: Probe, rows: NDArray[np.int64], at: int, patterns: Sequence[str]
) -> dict[str, NDArray[np.int64]]:
    """The labels (N,) of the factors that have at least two values at a position."""
    names = match_names(patterns, list(probe.factors), "the task has no factor {}")
    found = {}
    for name in names:
        labels = probe.factors[name]
        own = labels[rows] if labels.ndim == 1 else labels[rows, at]
        values = np.unique(own[own != DOES_NOT_APPLY])
        if len(values) > 1 and np.sum(own != DOES_NOT_APPLY) > len(values):
            found[name] = own
    return found


def _factors(
    labels: Mapping[str, NDArray[np.int64]], outputs: Outputs, weights: NDArray[np.float64]
) -> pl.DataFrame:
    """The table ``factors``."""
    size = dimensions(outputs.values, weights, outputs.units)
    columns: dict[str, list[NDArray[np.float64]]] = {
        "share": [], "share_permuted_95": [], "p": []
    }  # fmt: skip
    variances = Variances(outputs.values, weights, outputs.units)
    for own in labels.values():
        share = variances.between(own)
        random = random_share(own, weights, size)
        columns["share"].append(share)
        columns["share_permuted_95"].append(
            np.where(np.isnan(share), np.nan, random.percentile(_LEVEL))
        )
        columns["p"].append(random.p_values(share))
    flat = {name: np.concatenate(each) if each else np.empty(0) for name, each in columns.items()}
    flat["p_corrected"] = corrected_array(flat["p"])
    table = _unit_columns(outputs.units, len(labels)) | {
        "factor": np.repeat(list(labels), len(outputs.units)).tolist()
    }
    schema = _UNIT | {"factor": pl.String} | dict.fromkeys(flat, pl.Float64)
    return pl.DataFrame(table | flat, schema=schema).with_columns(pl.col(list(flat)).fill_nan(None))


_UNIT = {"kind": pl.String, "block": pl.Int64, "unit": pl.Int64}
_INDICES = {
    "main": "main",
    "total": "total",
    "low": "total_low",
    "high": "total_high",
    "main_low": "main_low",
    "main_high": "main_high",
}


def _unit_columns(units: Sequence[Unit], times: int) -> dict[str, list[Any]]:
    """The columns that name units, repeated."""
    return {
        "kind": [unit.kind for unit in units] * times,
        "block": [unit.block for unit in units] * times,
        "unit": [unit.number for unit in units] * times,
    }


def _inputs_table(
    places: Sequence[int], units: Sequence[Unit], indices: Indices | None
) -> pl.DataFrame:
    """The table ``inputs``."""
    table = _unit_columns(units, len(places)) | {"position": np.repeat(places, len(units)).tolist()}
    values = {
        name: [] if indices is None else getattr(indices, field).ravel()
        for name, field in _INDICES.items()
    }
    schema = _UNIT | {"position": pl.Int64} | dict.fromkeys(values, pl.Float64)
    frame = pl.DataFrame(table | values, schema=schema)
    return frame.with_columns(pl.col(list(values)).fill_nan(None))


def _map(
    places: Sequence[int], at: int, units: Sequence[Unit], indices: Indices
) -> NDArray[np.float32]:
    """Total indices of neurons, (M, T) up to the position; zero where the token is constant."""
    neurons = [place for place, unit in enumerate(units) if unit.kind == "neuron"]
    found = np.zeros((len(neurons), at + 1), dtype=np.float32)
    found[:, list(places)] = indices.total[:, neurons].T
    return found


def _position_scalars(
    units: Sequence[Unit],
    indices: Indices | None,
    constant: NDArray[np.bool_],
    threshold: float,
) -> dict[str, float | None]:
    """The scalars about neurons and input positions."""
    kinds = np.array([unit.kind for unit in units])
    neurons, logits = np.flatnonzero(kinds == "neuron"), np.flatnonzero(kinds == "logit")
    found: dict[str, float | None] = dict.fromkeys(
        (
            "positions_per_neuron",
            "neurons_of_one_position",
            "neurons_of_two_positions",
            "neurons_of_all_positions",
            "interactions_neurons",
            "interactions_logits",
        )
    )
    found["constant_neurons"] = float(constant[neurons].mean()) if len(neurons) else None
    if indices is None:
        return found
    alive = neurons[~np.isnan(indices.total[0, neurons])]
    if len(alive):
        counts = (indices.total_low[:, alive] > threshold).sum(0)
        found["positions_per_neuron"] = float(counts.mean())
        found["neurons_of_one_position"] = float((counts == 1).mean())
        found["neurons_of_two_positions"] = float((counts == 2).mean())
        found["neurons_of_all_positions"] = float((counts == len(indices.total)).mean())
        found["interactions_neurons"] = float((1 - indices.main[:, alive].sum(0)).mean())
    alive = logits[~np.isnan(indices.total[0, logits])]
    if len(alive):
        found["interactions_logits"] = float((1 - indices.main[:, alive].sum(0)).mean())
    return found


def _factor_scalars(factors: pl.DataFrame, declared: Sequence[str]) -> dict[str, float | None]:
    """The largest share of a neuron, for each of few factors."""
    names = factors["factor"].unique(maintain_order=True).to_list()
    if len(names) > _FEW_FACTORS:
        names = [name for name in names if name in declared]
    neurons = factors.filter(pl.col("kind") == "neuron")
    if not len(neurons):
        return {}
    return {
        f"largest_share/{name}": neurons.filter(pl.col("factor") == name)["share"].max()  # type: ignore[misc]
        for name in names
    }
