"""Effective matrices of heads and neurons, and whether they determine the logits."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import log_softmax

from ablab.analysis.analysis import AT_MOST_ONE, NOT_NEGATIVE, RANK, SHARE, analysis
from ablab.analysis.figures import Bars, Curves, HeatMap
from ablab.analysis.finding import Finding
from ablab.analysis.methods.effective_matrices import EffectiveMatrix, Query, effective_matrices
from ablab.analysis.methods.folded_weights import Array, Folded, fold
from ablab.analysis.methods.fourier_basis import ROUNDING
from ablab.analysis.methods.matrix_similarity import Similarity, similarities
from ablab.analysis.methods.resampling import corrected
from ablab.analysis.methods.rewritten import SIMPLIFICATIONS, Rewritten, observe
from ablab.analysis.methods.unit_outputs import (
    answer_position,
    blocks,
    chosen_samples,
    first_key,
    transformer,
)
from ablab.analysis.subject import DoesNotApplyError, Subject
from ablab.config import Config
from ablab.model.attention_activations.softmax import Softmax
from ablab.model.parts import DividingNorm
from ablab.model.transformer import Transformer
from ablab.tasks.config import IGNORED
from ablab.tasks.probe import Probe

_MOST_TOKENS = 1024
_PAIRINGS = 20

WAYS = {
    "all": (),
    "without_mlp_skip": ("mlp_skip",),
    "without_attention_skip": ("attention_skip",),
    "without_positions": ("positions",),
    "without_self_attention": ("self_attention",),
    "three_matrices": tuple(SIMPLIFICATIONS),
    "three_matrices_and_positions": ("self_attention", "attention_skip", "mlp_skip"),
}


class MatricesSettings(Config):
    """Settings of ``matrices``."""

    position: int | None = Field(None, ge=0)
    """The position in the input at which logits are looked at; null: where the answer begins."""
    rotations: int = Field(199, ge=19, le=10_000)
    """The number of random rotations beside each cosine."""
    seed: int = Field(0, ge=0)
    """The seed of rotations and of pairings of samples."""


@analysis(
    "matrices",
    question="Do the effective matrices of heads and neurons determine the logits, and how many "
    "directions do they use?",
    inputs=["model", "task"],
    cost="singular values of a few matrices per head, and one pass over the samples",
    edition=3,
    settings=MatricesSettings,
    headline=[
        "explained_three_matrices",
        "agreement_three_matrices",
        "explained_without_mlp_skip",
        "participation_ratio_neuron_logits",
    ],
    limits={
        "explained_*": AT_MOST_ONE,
        "agreement_*": SHARE,
        "loss_*": NOT_NEGATIVE,
        "participation_ratio_*": RANK,
    },
    directions={"loss_model": "lower"},
    figures=[
        Curves(
            "explained",
            "How much of the logits the model's matrices explain",
            {
                "explained_three_matrices": "three matrices alone",
                "explained_without_mlp_skip": "without the path around the MLP",
                "explained_without_positions": "without positional embeddings",
            },
            "share of the variance of logits",
        ),
        Bars(
            "directions",
            "Directions that each matrix uses",
            table="matrices",
            x=("matrix", "block", "head"),
            y="participation_ratio",
            x_label="",
            y_label="participation ratio",
        ),
        HeatMap(
            "qk",
            "Which token attends to which",
            array="qk",
            x_label="key token",
            y_label="query token",
            value="score",
            scale="diverging",
            panel="head",
            number_by=("matrices", "head"),
            among=("matrix", "qk"),
        ),
        HeatMap(
            "ov_logits",
            "What attending to a token does to the logits directly",
            array="ov_logits",
            x_label="answer",
            y_label="token",
            value="logit",
            scale="diverging",
            panel="head",
            number_by=("matrices", "head"),
            among=("matrix", "ov_logits"),
        ),
        HeatMap(
            "neuron_logits",
            "What each neuron does to the logits",
            array="neuron_logits",
            x_label="answer",
            y_label="neuron",
            value="logit per activation",
            scale="diverging",
            panel="block",
            number_by=("matrices", "block"),
            among=("matrix", "neuron_logits"),
        ),
    ],
)
def matrices(subject: Subject, settings: MatricesSettings) -> Finding:
    """Effective matrices, their spectra, and the logits that follow from them alone.

    With the embedding W_E, of the tokens that are at a place where samples differ, and W_QK = W_Q
    W_Kᵀ / √K, W_OV = W_V W_O (Elhage et al., "A mathematical framework for transformer circuits",
    2021):

    - ``qk``, for each head: W_E W_QK W_Eᵀ, the score of a key token (column) for a query token;
    - ``qk_answer``: the row of the token whose logits are looked at, if it is always the same, with
      its positional embedding: (W_E[=] + W_pos) W_QK W_Eᵀ, and ``qk_answer_positions``, the same
      for the positions that it sees (with a window, the last ones); for heads of the first block;
    - ``ov_neurons``: W_E W_OV W_in, and ``ov_logits``: W_E W_OV W_U, for each head;
    - ``embedding_neurons``: W_E W_in, ``embedding_logits``: W_E W_U, the direct paths;
    - ``neuron_logits``: W_out W_U.

    A norm's gain, bias and centring are folded into the matrix that reads it
    (:func:`ablab.analysis.methods.folded_weights.fold`), and what remains is a division by the
    scale of each vector, which is not in these matrices; only ``qk_answer`` is divided by the scale
    of its query. Columns W_U are those of answers. The means that have no effect are subtracted
    (:func:`ablab.analysis.methods.effective_matrices.effective_matrices`). In blocks after the
    first, these are paths from the embedding alone. For a gated MLP, W_in is that of the
    activation.

    **The model, rewritten** (table ``rewritten``; models of one block): the logits at the answer's
    position, computed in float64 from these weights and biases without the model
    (:mod:`ablab.analysis.methods.rewritten`), beside the model's: the share of the variance that
    they explain, 1 - Σ w (y' - y)² / Σ w (y - ȳ)², with logits y minus their mean over the
    vocabulary and ȳ the mean over samples with weights w; its 95th percentile over random pairings
    of samples; the loss; and the share of samples with the same largest logit. Norms divide by the
    model's own scales. Of a larger table, these are at most 8,192 samples. The rows are ``all``
    paths, ``without_…`` one of the simplifications that Nanda et al., "Progress measures for
    grokking via mechanistic interpretability" (2023), make
    (:data:`ablab.analysis.methods.rewritten.SIMPLIFICATIONS`), and ``three_matrices``, all of them,
    so that ``qk_answer``, ``ov_neurons``, ``neuron_logits`` and constants alone are left, with
    which operands of a commutative task can be told apart by their tokens only;
    ``three_matrices_and_positions`` keeps positional embeddings.

    Table ``matrices``: for each matrix, its Frobenius norm, its spectral norm σ₁, the participation
    ratio (Σσ²)² / Σσ⁴ and the stable rank Σσ² / σ₁² (Rudelson and Vershynin, 2007). Table
    ``singular_values``: those above the rounding of float32. Table ``similarities``: cosines of the
    matrices of two heads of a block, or of a head and the direct path, beside those of heads that
    read random directions (:func:`ablab.analysis.methods.matrix_similarity.similarities`), with
    p-values corrected after Benjamini and Hochberg (1995). Arrays: the matrices by name, with those
    of all heads or blocks along the first axis.

    Scalars: ``explained_WAY`` for each way to compute logits, ``agreement_WAY`` and ``loss_WAY``
    for ``all`` and the ``three_matrices``, ``loss_model``, and ``participation_ratio_MATRIX``, the
    mean over heads or blocks.

    What it does not show: that a matrix of few directions is used, as inputs may not reach them, or
    that one of many is not simple in another basis. A simplification is judged with everything else
    in place; what it breaks may be compensated in a trained alternative. A small cosine does not
    exclude that heads do the same in other directions.
    """
    model = transformer(subject)
    probe, at = subject.probe, answer_position(subject, settings.position)
    folded = fold(model, at + 1)
    tokens = _tokens(probe, at)
    known = np.unique(probe.targets[probe.targets[:, at] != IGNORED, at]).tolist()
    answers: list[int] = known or list(range(model.vocab_size))
    if max(len(tokens), len(answers)) > _MOST_TOKENS:
        raise DoesNotApplyError(f"the task has more than {_MOST_TOKENS} tokens")
    attention = [block.attention if block.has_attention else None for block in blocks(model)]
    sums_to_one = [each is not None and type(each.activation) is Softmax for each in attention]
    query = _query(model, folded, probe, at)
    keys = range(0 if attention[0] is None else first_key(attention[0], at), at + 1)
    found = effective_matrices(folded, tokens, answers, sums_to_one, query, keys)
    table, spectra = _spectra(found)
    rewritten, scalars = _rewritten(subject, model, at, settings.seed)
    several = table.filter(pl.col("rows") > 1).group_by("matrix", maintain_order=True)
    ratios = several.agg(pl.col("participation_ratio").mean())
    scalars |= {f"participation_ratio_{name}": value for name, value in ratios.iter_rows()}
    cosines = _similarities(similarities(found, settings.rotations, settings.seed))
    tables = {
        "matrices": table,
        "singular_values": spectra,
        "similarities": cosines,
        "rewritten": rewritten,
    }
    return Finding(scalars, tables, _arrays(found))


def _tokens(probe: Probe, at: int) -> list[int]:
    """The tokens at the positions up to one where samples differ; all tokens if none differ."""
    seen = probe.tokens[:, : at + 1]
    varies = (seen != seen[0]).any(0)
    found: list[int] = np.unique(seen[:, varies] if varies.any() else seen).tolist()
    return found


def _query(model: Transformer, folded: Folded, probe: Probe, at: int) -> Query | None:
    """The token at the answer's position, if it is always the same."""
    token = probe.tokens[0, at]
    block = blocks(model)[0]
    if (probe.tokens[:, at] != token).any() or not block.has_attention:
        return None
    vector = folded.embedding[token] + folded.positions[at]
    scale = 1.0
    if isinstance(block.norm1, DividingNorm):
        scale = float(block.norm1.scale(torch.from_numpy(vector)))
    return Query(vector, scale)


_MATRIX = {"matrix": pl.String, "block": pl.Int64, "head": pl.Int64}


def _spectra(found: Sequence[EffectiveMatrix]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The tables ``matrices`` and ``singular_values``."""
    rows: list[dict[str, Any]] = []
    spectra: list[dict[str, Any]] = []
    for each in found:
        values = each.singular_values
        name: dict[str, Any] = {"matrix": each.name, "block": each.block, "head": each.head}
        row = name | {"rows": each.values.shape[0], "columns": each.values.shape[1]}
        row |= {"frobenius": float(np.linalg.norm(each.values)), "spectral": 0.0}
        if len(values):
            squares = np.square(values / values[0])
            row["spectral"] = float(values[0])
            row["participation_ratio"] = float(squares.sum() ** 2 / np.square(squares).sum())
            row["stable_rank"] = float(squares.sum())
        rows.append(row)
        spectra += [
            name | {"index": index, "value": value}
            for index, value in enumerate(values.tolist(), start=1)
        ]
    sizes = {"rows": pl.Int64, "columns": pl.Int64}
    measures = ("frobenius", "spectral", "participation_ratio", "stable_rank")
    schema = _MATRIX | sizes | dict.fromkeys(measures, pl.Float64)
    return (
        pl.DataFrame(rows, schema=schema),
        pl.DataFrame(spectra, schema=_MATRIX | {"index": pl.Int64, "value": pl.Float64}),
    )


def _similarities(found: Sequence[Similarity]) -> pl.DataFrame:
    """The table ``similarities``."""
    rows = [
        {
            "matrix": each.name,
            "block": each.block,
            "head": each.head,
            "other_head": each.other,
            "cosine": each.cosine,
            "cosine_random_95": each.random,
            "p": each.p,
            "p_corrected": p,
        }
        for each, p in zip(found, corrected([each.p for each in found]), strict=True)
    ]
    numbers = ("cosine", "cosine_random_95", "p", "p_corrected")
    schema = _MATRIX | {"other_head": pl.Int64} | dict.fromkeys(numbers, pl.Float64)
    return pl.DataFrame(rows, schema=schema)


def _arrays(found: Sequence[EffectiveMatrix]) -> dict[str, NDArray[np.float32]]:
    """The matrices by name; those that differ in shape between blocks are left out."""
    arrays = {}
    for name in dict.fromkeys(each.name for each in found):
        own = [each.values for each in found if each.name == name]
        if len({each.shape for each in own}) == 1:
            arrays[name] = np.stack(own).astype(np.float32)
    return arrays


def _rewritten(
    subject: Subject, model: Transformer, at: int, seed: int
) -> tuple[pl.DataFrame, dict[str, float | None]]:
    """The table ``rewritten``, and the scalars from it."""
    scalars: dict[str, float | None] = {f"explained_{way}": None for way in WAYS}
    try:
        other = Rewritten(model, at)
    except DoesNotApplyError:
        return pl.DataFrame(schema=_REWRITTEN), scalars
    probe = subject.probe
    rows = chosen_samples(probe, at, seed)
    tokens, targets = probe.tokens[rows], probe.targets[rows, at]
    weights = probe.weights[rows] / probe.weights[rows].sum()
    logits, scales = observe(subject, tokens, at)
    scored = _Scored(logits, None if targets[0] == IGNORED else targets, weights, seed)
    found = []
    for way, without in WAYS.items():
        row = scored.row(other.logits(tokens, scales, weights, without))
        found.append({"way": way} | row)
        scalars[f"explained_{way}"] = row["share_explained"]
        if way == "all" or way.startswith("three_matrices"):
            scalars[f"agreement_{way}"] = row["agreement"]
            scalars[f"loss_{way}"] = row["loss"]
    scalars["loss_model"] = scored.loss(logits)
    return pl.DataFrame(found, schema=_REWRITTEN), scalars


_REWRITTEN = {"way": pl.String} | dict.fromkeys(
    ("share_explained", "share_explained_permuted_95", "loss", "agreement"), pl.Float64
)


class _Scored:
    """Compares logits with those of the model, (N, V)."""

    def __init__(
        self, logits: Array, targets: NDArray[np.int64] | None, weights: Array, seed: int
    ) -> None:
        self._model = logits - logits.mean(-1, keepdims=True)
        self._targets, self._weights = targets, weights
        self._largest = logits.argmax(-1)
        deviations = np.square(self._model - weights @ self._model).sum(-1)
        self._variance = float(weights @ deviations)
        if self._variance <= ROUNDING * float(weights @ np.square(self._model).sum(-1)):
            self._variance = 0.0
        rng = np.random.default_rng(seed)
        self._pairings = [rng.permutation(len(logits)) for _ in range(_PAIRINGS)]

    def row(self, logits: Array) -> dict[str, Any]:
        """How well logits agree with the model's."""
        own = logits - logits.mean(-1, keepdims=True)
        null = [self._explained(own[order]) for order in self._pairings]
        known = [each for each in null if each is not None]
        same = logits.argmax(-1) == self._largest
        is_known = np.isfinite(logits).all() and np.isfinite(self._model).all()
        return {
            "share_explained": self._explained(own),
            "share_explained_permuted_95": float(np.quantile(known, 0.95)) if known else None,
            "loss": self.loss(logits),
            "agreement": min(1.0, float(self._weights @ same)) if is_known else None,
        }

    def loss(self, logits: Array) -> float | None:
        """The cross-entropy; None if no answer is known."""
        if self._targets is None:
            return None
        right = np.take_along_axis(log_softmax(logits, axis=-1), self._targets[:, None], axis=-1)
        return float(-self._weights @ right[:, 0])

    def _explained(self, own: Array) -> float | None:
        if self._variance == 0:
            return None
        return 1 - float(self._weights @ np.square(own - self._model).sum(-1)) / self._variance
