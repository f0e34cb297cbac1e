"""How alike positions are: their embeddings, what heads see there, and exchanged operands."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field

from ablab.analysis.analysis import COSINE, NOT_NEGATIVE, SHARE, analysis
from ablab.analysis.figures import Bars, HeatMap
from ablab.analysis.finding import Finding
from ablab.analysis.methods.removable_parts import POSITIONS_SITE
from ablab.analysis.methods.resampling import corrected
from ablab.analysis.methods.roles import Operands, operands_of, position_roles
from ablab.analysis.methods.similarity import (
    Removed,
    Similarity,
    chance_of_cosine,
    of_embeddings,
    of_tokens,
    without,
)
from ablab.analysis.methods.swap_tables import swap_tables
from ablab.analysis.subject import DoesNotApplyError, Subject
from ablab.config import Config
from ablab.model.block import Block
from ablab.model.interventions import sites
from ablab.model.transformer import Transformer

_LONGEST = 64  # positions in the tables


class PositionsSettings(Config):
    """Settings of ``positions``."""

    removed: Removed = "nothing"
    """What is removed from positional embeddings before they are compared: ``nothing``, ``ones``
    (the mean over entries, which layer norm removes) or ``mean`` (the mean over positions)."""
    permutations: int = Field(999, ge=19)
    """The number of permutations of entries, and of re-paired tokens."""
    samples: int = Field(2048, ge=2)
    """The largest number of samples whose operands are exchanged."""
    pairings: int = Field(99, ge=19)
    """The number of random pairings of samples."""
    seed: int = Field(0, ge=0)
    """The seed of all that is drawn."""


@analysis(
    "positions",
    question="Are positional embeddings alike, and does exchanging the operands change anything?",
    inputs=["model", "task"],
    cost="three passes, and a thousand permutations for each pair of the first 64 positions",
    settings=PositionsSettings,
    edition=3,
    headline=[
        "cosine_operands",
        "cosine_operands_p",
        "cosine_neighbours",
        "swap_change_neurons*",
        "swap_change_logits*",
    ],
    limits={"cosine_*_p": SHARE, "cosine_*": COSINE, "*": NOT_NEGATIVE},
    figures=[
        HeatMap(
            "cosines",
            "Cosine similarity of positional embeddings",
            array="cosines",
            x_label="position",
            y_label="position",
            value="cosine similarity",
            scale="diverging",
        ),
        Bars(
            "pairs",
            "Similarity of pairs of positions",
            table="pairs",
            x=("of", "first", "second"),
            y="cosine",
            x_label="what, and positions",
            y_label="cosine similarity",
            null="null_95",
            sort=True,
            most=24,
        ),
    ],
)
def positions(subject: Subject, settings: PositionsSettings) -> Finding:
    """Similarities of positions, and changes by exchanged operands, beside what chance gives.

    Table ``pairs``: a row for each pair of the first 64 positions and each kind of vectors:

    - ``embedding``: the positional embeddings x and y (learned or sinusoidal). By chance
      (``null``, ``null_95``, ``p``), the entries of y are permuted. ``p_normal`` is how often
      independent normal vectors have at least this cosine similarity: (1 + cosine) / 2 has the
      beta distribution with both parameters (D - 1) / 2.
    - ``input``, ``normed``, ``keys``, ``values``: the residual stream before block 0, the same
      after its norm, and the keys (with rope, after rotation) and values of all its heads, where
      the same token stands at both positions: means over the tokens that occur at both in the
      probe. By chance, tokens are re-paired: another one stands at the second position.

    ``cosine``; ``relative_distance``, the squared distance over the product of both norms, as in
    Nanda et al. (2023) for modular addition, which is 2 for orthogonal vectors of equal norm;
    ``distance_to_spread``, the distance over the root mean square distance of all pairs of
    positional embeddings, or over that of different tokens at the two positions, so 0 means that
    only the token matters. P-values are one-sided, for more similar than by chance;
    ``p_corrected`` of embeddings is how often any pair is as similar by chance (Westfall and Young,
    1993), that of others is ``p`` after Benjamini and Hochberg over their rows.

    Tables ``neurons`` (neurons of each MLP at predicted positions) and ``logits`` (their deviation
    from the mean over tokens; one row): what exchanging the operands changes, for tasks that add
    two operands in a cyclic group. Samples that stay the same are left out. ``size`` and ``spread``
    are the root mean square and the standard deviation, ``change`` is the root mean square change,
    ``relative`` the change over that by another sample (0: no change; 1: as much as by any other
    sample), and ``relative_same_answer`` that over another sample with the same targets. ``p`` and
    ``p_same_answer`` are how often random pairings of such samples change as little, and
    ``p_corrected`` is ``p_same_answer`` after Benjamini and Hochberg; with 99 pairings, it can be
    small only if many neurons have small p-values. Numbers of a neuron that does
    not change between samples are None, and so are those with ``same_answer`` if fewer than half of
    the samples have another one with the same targets, or for p-values two others.

    What it does not show: equal embeddings of operands are neither necessary nor sufficient for a
    commutative computation, as nothing may read where they differ. In an untrained model with
    even attention, exchanged operands already change little, so compare with step 0. If the
    operation does not commute, such as a - b, the answers differ.

    Scalars: ``cosine_neighbours`` (mean over adjacent positions), ``cosine_operands`` (mean over
    the digits of both operands), and both with ``_p`` (the same mean with permuted entries);
    ``relative_distance_operands``; ``keys_distance_operands`` and ``values_distance_operands``
    (means of ``distance_to_spread``); ``swap_change_neurons`` (median of ``relative`` over
    neurons), ``swap_change_logits``, and both with ``_same_answer``; None without positional
    embeddings or operands.

    Raises:
        DoesNotApplyError: The model is no transformer of ablab, or it has no positional embedding
            and the task no operands.
    """
    model = subject.model
    if not isinstance(model, Transformer):
        raise DoesNotApplyError("the model is not a transformer with positions of its own")
    operands = operands_of(subject.task)
    names = sites(model, torch.from_numpy(subject.probe.tokens[:1]))
    if POSITIONS_SITE not in names and operands is None:
        raise DoesNotApplyError(
            "the model has no positional embedding, and the task does not add two operands"
        )
    pairs, cosines, scalars = _pairs(subject, model, names, operands, settings)
    tables, arrays = {"pairs": pairs}, {}
    if cosines is not None:
        arrays["cosines"] = cosines.astype(np.float32)
    if operands is not None:
        neurons, logits, changes = swap_tables(
            subject, model, operands, settings.samples, settings.pairings, settings.seed
        )
        tables |= {"neurons": neurons, "logits": logits}
        scalars |= changes
    return Finding(dict.fromkeys(_SCALARS) | scalars, tables, arrays)


def _pairs(
    subject: Subject,
    model: Transformer,
    names: Sequence[str],
    operands: Operands | None,
    settings: PositionsSettings,
) -> tuple[pl.DataFrame, NDArray[np.float64] | None, dict[str, float | None]]:
    """The table of pairs, the cosines of embeddings, and the scalars of operands."""
    roles = position_roles(subject.task, subject.probe)
    rows: list[dict[str, Any]] = []
    scalars: dict[str, float | None] = {}
    cosines = None
    if POSITIONS_SITE in names:
        tokens = torch.from_numpy(subject.probe.tokens[:1])
        vectors = subject.forward(tokens, read=[POSITIONS_SITE]).sites[POSITIONS_SITE].detach()
        own = without(vectors[0, :_LONGEST].double().numpy(), settings.removed)
        found = of_embeddings(own, settings.permutations, settings.seed)
        # Vectors without their mean over entries have one dimension less.
        chance = chance_of_cosine(found.cosine, own.shape[1] - (settings.removed == "ones"))
        for first in range(len(own)):
            for second in range(first + 1, len(own)):
                row = _row("embedding", first, second, roles, found, (first, second))
                row["p_normal"] = _finite(chance[first, second])
                row["p_corrected"] = _finite(found.p_any[first, second])
                rows.append(row)
        cosines = found.cosine
        scalars |= _of_embeddings(found, operands)
    seen = _seen(subject, model, roles, settings)
    scalars |= _distances(seen, operands)
    adjusted = corrected([row["p"] for row in seen])
    rows += [row | {"p_corrected": p} for row, p in zip(seen, adjusted, strict=True)]
    return pl.DataFrame(rows, schema=_PAIRS), cosines, scalars


def _of_embeddings(found: Similarity, operands: Operands | None) -> dict[str, float | None]:
    """The scalars of positional embeddings."""
    length = len(found.cosine)
    neighbours = [(place, place + 1) for place in range(length - 1)]
    scalars = _means("neighbours", found, neighbours)
    del scalars["relative_distance_neighbours"]
    if operands is not None:
        pairs = zip(operands.first, operands.second, strict=True)
        scalars |= _means("operands", found, [pair for pair in pairs if max(pair) < length])
    return scalars


def _means(
    name: str, found: Similarity, pairs: Sequence[tuple[int, int]]
) -> dict[str, float | None]:
    """The mean similarity of pairs of positions, and how often chance gives as large a cosine."""
    names = f"cosine_{name}", f"cosine_{name}_p", f"relative_distance_{name}"
    if not pairs:
        return dict.fromkeys(names)
    index = tuple(np.array(pairs).T)
    cosine, drawn = found.cosine[index].mean(), found.drawn[:, *index].mean(-1)
    p = (1 + (drawn >= cosine - 1e-9).sum()) / (1 + len(drawn)) if np.isfinite(cosine) else np.nan
    values = cosine, p, found.relative_distance[index].mean()
    return dict(zip(names, map(_finite, values), strict=True))


def _seen(
    subject: Subject, model: Transformer, roles: Sequence[str], settings: PositionsSettings
) -> list[dict[str, Any]]:
    """Rows for what heads see where the same token stands at two positions."""
    tokens = subject.probe.tokens[:, :_LONGEST]
    known = np.unique(tokens)
    occurs = np.stack([np.isin(known, column) for column in tokens.T])  # (T, V)
    everywhere = torch.from_numpy(np.repeat(known[:, None], tokens.shape[1], axis=1))
    vectors = _vectors(subject, model, everywhere)
    rows = []
    for first in range(len(occurs)):
        for second in range(first + 1, len(occurs)):
            both = np.flatnonzero(occurs[first] & occurs[second])
            if len(both) > 1:
                for of, own in vectors.items():
                    pair = own[both, first], own[both, second]
                    found = of_tokens(*pair, settings.permutations, settings.seed)
                    rows.append(_row(of, first, second, roles, found, (0, 0)))
    return rows


def _vectors(
    subject: Subject, model: Transformer, tokens: torch.Tensor
) -> dict[str, NDArray[np.float64]]:
    """The vectors (V, T, D) before block 0, after its norm, and its keys and values."""
    block = model.blocks[0]
    assert isinstance(block, Block), "a transformer's blocks"
    names = sites(model, tokens[:1])
    key = "rot_k" if "blocks.0.attn.rot_k" in names else "k"
    read = {"input": "resid_pre"}
    if block.has_attention:
        read |= {"keys": f"attn.{key}", "values": "attn.v"}
    found = subject.forward(tokens, read=[f"blocks.0.{name}" for name in read.values()]).sites
    vectors = {of: found[f"blocks.0.{name}"].double() for of, name in read.items()}
    if block.has_attention and block.pre and model.config.block(0).norm != "none":
        with torch.no_grad():
            vectors["normed"] = block.norm1(found["blocks.0.resid_pre"]).double()
    return {of: own.flatten(2).numpy() for of, own in vectors.items()}


def _distances(
    rows: Sequence[dict[str, Any]], operands: Operands | None
) -> dict[str, float | None]:
    """The mean distances of keys and of values of the operands."""
    if operands is None:
        return {}
    pairs = set(zip(operands.first, operands.second, strict=True))
    found: dict[str, float | None] = {}
    for of in ("keys", "values"):
        own = [
            row["distance_to_spread"]
            for row in rows
            if row["of"] == of and (row["first"], row["second"]) in pairs
        ]
        known = [each for each in own if each is not None]
        found[f"{of}_distance_operands"] = sum(known) / len(known) if known else None
    return found


def _row(
    of: str,
    first: int,
    second: int,
    roles: Sequence[str],
    found: Similarity,
    place: tuple[int, int],
) -> dict[str, Any]:
    return {
        "of": of,
        "first": first,
        "second": second,
        "first_role": roles[first],
        "second_role": roles[second],
        "cosine": _finite(found.cosine[place]),
        "relative_distance": _finite(found.relative_distance[place]),
        "distance_to_spread": _finite(found.distance_to_spread[place]),
        "null": _finite(found.null[place]),
        "null_95": _finite(found.high[place]),
        "p": _finite(found.p[place]),
    }


def _finite(number: Any) -> float | None:
    return float(number) if np.isfinite(number) else None


_SCALARS = (
    "cosine_neighbours",
    "cosine_neighbours_p",
    "cosine_operands",
    "cosine_operands_p",
    "relative_distance_operands",
    "keys_distance_operands",
    "values_distance_operands",
    "swap_change_neurons",
    "swap_change_logits",
    "swap_change_neurons_same_answer",
    "swap_change_logits_same_answer",
)
_PAIRS = {
    "of": pl.String,
    "first": pl.Int64,
    "second": pl.Int64,
    "first_role": pl.String,
    "second_role": pl.String,
    **dict.fromkeys(
        (
            "cosine",
            "relative_distance",
            "distance_to_spread",
            "null",
            "null_95",
            "p",
            "p_normal",
            "p_corrected",
        ),
        pl.Float64,
    ),
}
