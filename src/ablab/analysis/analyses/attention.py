"""Where each head looks: patterns, entropies, scores of known kinds of heads, by factor."""

from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from ablab.analysis.analysis import SHARE, analysis
from ablab.analysis.figures import HeatMap
from ablab.analysis.finding import Finding
from ablab.analysis.methods.attention_tables import (
    HeadAttention,
    by_factor_table,
    factors_table,
    mean_of,
    sources_table,
)
from ablab.analysis.methods.attention_weights import (
    ENTRIES,
    attention_weights,
    heads_of,
    used_queries,
)
from ablab.analysis.methods.head_scores import MATCHES, HeadScore, head_score, repeated_sequences
from ablab.analysis.methods.roles import operands_of, position_roles
from ablab.analysis.methods.samples import samples_of
from ablab.analysis.subject import DoesNotApplyError, Subject
from ablab.config import Config
from ablab.model.transformer import Transformer


class AttentionSettings(Config):
    """Settings of ``attention``."""

    max_tokens: int = Field(2**16, ge=1)
    """The largest number of tokens of the samples; of larger probes, a random part is used."""
    sequences: int = Field(256, ge=1)
    """The number of random repeated sequences."""
    values: int = Field(6, ge=2)
    """The largest number of values of a factor by which patterns are listed."""
    permutations: int = Field(499, ge=19)
    """The number of permutations of keys."""
    label_permutations: int = Field(99, ge=19)
    """The number of permutations of the labels of each factor."""
    seed: int = Field(0, ge=0)
    """The seed of samples, sequences and permutations."""


@analysis(
    "attention",
    question="Where does each head look, and on what does that depend?",
    inputs=["model", "task"],
    cost="two passes, and a few hundred permutations",
    edition=3,
    settings=AttentionSettings,
    headline=[
        "answer_to_itself_max",
        "entropy_share_mean",
        "previous_token_max",
        "duplicate_token_max",
        "induction_max",
    ],
    limits={"*": SHARE},
    figures=[
        HeatMap(
            "patterns",
            "Mean attention pattern of each head",
            array="patterns",
            x_label="position attended to",
            y_label="position that attends",
            value="mean weight",
            panel="head",
            number_by=("heads", "head"),
        )
    ],
)
def attention(subject: Subject, settings: AttentionSettings) -> Finding:
    """Mean patterns, entropies and scores of each head.

    The *share* of a key is the size of its weight over the sum of sizes in the row. With softmax it
    is the weight itself. With other activations rows need not sum to one, and weights can be
    negative; ``row_sum`` is the mean sum of a row's weights, and ``silent`` the share of rows whose
    weights are all zero, which other measures leave out. A mean is over samples, with their
    weights, and over queries up to the last predicted position.

    Table ``heads``:

    - ``entropy``: -Σ s log s of the shares, in nats. ``entropy_share``: entropy over the logarithm
      of the number of visible keys, for queries that see several.
    - ``answer_to_itself``, ``answer_to_operands``: how much of the attention of predicted positions
      goes to their own key, and to those of the operands, if the task adds two in a cyclic group
      (``ablab.tasks.groups``).
    - ``row_sum``, ``silent``, and the scores below (those of random sequences where there are any,
      except for ``previous_token``).

    Table ``scores``: the mean share of keys that match, over queries with a match.
    ``previous_token``: the key at t - 1. ``duplicate_token``: earlier keys with the query's token
    (Wang et al., 2022). ``induction``: keys after an earlier occurrence of the query's token
    (Olsson et al., 2022). They are measured on the probe, and on random sequences of its tokens
    that are repeated once, as long as its samples (at least 4 tokens). ``null`` and ``null_95`` are
    the mean and the 95th percentile of the scores with the visible keys permuted, the same way for
    all samples, and ``p`` is the p-value of this permutation test. ``p_corrected`` is how often any
    head has as large a score by chance (Westfall and Young, 1993), times the number of scores.
    Samples with few positions have few permutations, so p-values cannot be small there. Of more
    than 64 positions, ``null``, ``null_95`` and the p-values are of some queries only (16 of 128),
    spread evenly.

    Table ``sources``: the mean weight and share from predicted positions to each key, beside
    ``uniform``, 1 over the number of visible keys. ``by_factor``: the mean share by the value of
    each factor of few values. ``factors``: the share of the variance of a head's shares at
    predicted positions that a factor's value explains (correlation ratio η²), beside that of
    permuted labels (``null``, ``null_95``; ``p`` from a gamma distribution with their mean and
    variance; ``p_corrected`` after Benjamini and Hochberg). Array ``patterns``: mean weights of
    each head, (heads, positions, positions), in the order of ``heads``.

    What it does not show: that a head attends to a position does not mean that it reads anything
    there, or that what it reads matters (see ``ablation``). A mean pattern can hide that a head
    looks elsewhere for each sample (see ``factors``). Random sequences are unlike the task's
    samples, so a head can behave differently on them.

    Scalars do not name heads, which have no identity across seeds: ``NAME_max``, the largest value
    of any head, and ``NAME_mean``; ``NAME_p``, the smallest corrected p-value of a score.

    Raises:
        DoesNotApplyError: The model is no transformer of ablab, or has no attention.
    """
    model = subject.model
    if not isinstance(model, Transformer):
        raise DoesNotApplyError(
            "the model is not a transformer whose heads look from each position to earlier ones"
        )
    if not heads_of(model):
        raise DoesNotApplyError("the model has no attention")
    measured = _measured(subject, model, settings)
    scores = _scores(subject, model, measured, settings)
    tables = {
        "heads": _heads(subject, measured, scores),
        "scores": scores,
        "sources": sources_table(measured),
        "by_factor": by_factor_table(measured, settings.values),
        "factors": factors_table(measured, settings.label_permutations, settings.seed),
    }
    total = measured.queries.sum(0)[:, None]
    summed = np.einsum("nt,nhts->hts", measured.queries, measured.weights.weights)
    patterns = summed / np.where(total > 0, total, 1)
    return Finding(_scalars(tables), tables, {"patterns": patterns.astype(np.float32)})


def _measured(subject: Subject, model: Transformer, settings: AttentionSettings) -> HeadAttention:
    length = subject.probe.tokens.shape[1]
    most = min(settings.max_tokens // length, ENTRIES // (length**2 * len(heads_of(model))))
    samples = samples_of(subject.probe, max(1, most), settings.seed)
    weights = attention_weights(subject, model, samples.tokens.numpy())
    queries = used_queries(samples) * samples.weights[:, None]
    roles = position_roles(subject.task, subject.probe)
    return HeadAttention(samples, weights, weights.shares(), queries / queries.sum(), roles)


def _scores(
    subject: Subject, model: Transformer, measured: HeadAttention, settings: AttentionSettings
) -> pl.DataFrame:
    """A row for each head, score and kind of samples."""
    tokens = measured.samples.tokens.numpy()
    on = [("probe", tokens, measured.weights, measured.shares, measured.queries)]
    known = np.unique(subject.probe.tokens)
    repeated = repeated_sequences(known, tokens.shape[1], settings.sequences, settings.seed)
    if repeated is not None:
        own = attention_weights(subject, model, repeated)
        on.append(("random", repeated, own, own.shares(), np.ones(repeated.shape)))
    rows = []
    for samples, inputs, weights, shares, queries in on:
        for name, match in MATCHES.items():
            if samples == "probe" or name != "previous_token":
                found = head_score(
                    shares, match(inputs), queries, weights.visible,
                    settings.permutations, settings.seed,
                )  # fmt: skip
                rows += _score_rows(measured, name, samples, found)
    count = len(rows) // len(measured.named)  # of scores
    for row in rows:
        by_chance = row.pop("p_any")
        row["p_corrected"] = None if by_chance is None else min(1.0, count * by_chance)
    return pl.DataFrame(rows, schema=_SCORES)


def _score_rows(
    measured: HeadAttention, name: str, samples: str, found: HeadScore
) -> list[dict[str, Any]]:
    columns = {
        "value": found.values,
        "null": found.null,
        "null_95": found.high,
        "p": found.p,
        "p_any": found.p_any,
    }
    return [
        named
        | {"score": name, "samples": samples}
        | {key: _finite(own[place]) for key, own in columns.items()}
        for place, named in enumerate(measured.named)
    ]


def _heads(subject: Subject, measured: HeadAttention, scores: pl.DataFrame) -> pl.DataFrame:
    """A row for each head."""
    shares, visible, used = measured.shares, measured.weights.visible, measured.used
    logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy = -(shares * logarithms).sum(-1)  # (N, H, T)
    several = visible.sum(-1) > 1  # (H, T)
    sums = shares.sum(-1)  # (N, H, T)
    answers = measured.samples.positions
    columns = {
        "row_sum": mean_of(measured.weights.weights.sum(-1), measured.queries[:, None]),
        "silent": mean_of(np.where(np.isnan(sums), np.nan, sums == 0), measured.queries[:, None]),
        "entropy": mean_of(entropy, used),
        "entropy_share": mean_of(entropy / np.log(np.maximum(visible.sum(-1), 2)), used * several),
        "answer_to_itself": mean_of(shares[:, :, answers, answers], used[..., answers]),
    }
    operands = operands_of(subject.task)
    if operands is not None:
        keys = shares[:, :, answers][..., [*operands.first, *operands.second]]
        columns["answer_to_operands"] = mean_of(keys.sum(-1), used[..., answers])
    rows = [
        named | {name: _finite(own[place]) for name, own in columns.items()}
        for place, named in enumerate(measured.named)
    ]
    table = pl.DataFrame(rows, schema=_HEADS)
    return table.with_columns(_preferred(scores, name)["value"].alias(name) for name in MATCHES)


def _preferred(scores: pl.DataFrame, name: str) -> pl.DataFrame:
    """The rows of a score: those of random sequences where there are any."""
    own = scores.filter(pl.col("score") == name)
    random = own.filter(pl.col("samples") == "random")
    return random if random.height else own


def _scalars(tables: dict[str, pl.DataFrame]) -> dict[str, float | None]:
    heads, scores = tables["heads"], tables["scores"]
    found: dict[str, float | None] = {}
    for name in ("answer_to_itself", "answer_to_operands", "entropy_share"):
        known = heads[name].drop_nulls().to_list()
        found[f"{name}_max"] = max(known, default=None)
        found[f"{name}_mean"] = sum(known) / len(known) if known else None
    for name in MATCHES:
        own = _preferred(scores, name)
        found[f"{name}_max"] = max(own["value"].drop_nulls().to_list(), default=None)
        found[f"{name}_p"] = min(own["p_corrected"].drop_nulls().to_list(), default=None)
    return found


def _finite(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None


_HEADS = {
    "block": pl.Int64,
    "head": pl.Int64,
    **dict.fromkeys(
        (
            "row_sum",
            "silent",
            "entropy",
            "entropy_share",
            "answer_to_itself",
            "answer_to_operands",
        ),
        pl.Float64,
    ),
}
_SCORES = {
    "block": pl.Int64,
    "head": pl.Int64,
    "score": pl.String,
    "samples": pl.String,
    **dict.fromkeys(("value", "null", "null_95", "p", "p_corrected"), pl.Float64),
}
