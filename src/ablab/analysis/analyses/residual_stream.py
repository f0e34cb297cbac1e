"""How much of the residual stream depends on the sample, at each position and after each part."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field

from ablab.analysis.analysis import SHARE, analysis
from ablab.analysis.figures import Curves
from ablab.analysis.finding import Finding
from ablab.analysis.methods.unit_outputs import answer_position, chosen_samples, passes
from ablab.analysis.subject import Subject
from ablab.config import Config
from ablab.model.base import Model
from ablab.model.interventions import sites

_SITE = re.compile(r"blocks\.(\d+)\.resid_(pre|mid|post)")


class ResidualStreamSettings(Config):
    """Settings of ``residual_stream``."""

    position: int | None = Field(None, ge=0)
    """The position in the input that the scalars are about; null: where the answer begins."""
    seed: int = Field(0, ge=0)
    """The seed of the samples of a larger table."""


@analysis(
    "residual_stream",
    question="How much of the residual stream depends on the sample, before and after attention "
    "and MLP?",
    inputs=["model", "task"],
    cost="one pass over the samples",
    settings=ResidualStreamSettings,
    headline=["varies_*"],
    figures=[
        Curves(
            "varies",
            "Share of the residual stream that depends on the sample, at the answer",
            {
                "varies_before_attention": "before the first attention",
                "varies_after_attention": "after it",
                "varies_at_end": "after the last block",
            },
            "share of the mean square",
        )
    ],
    limits={"*": SHARE},
)
def residual_stream(subject: Subject, settings: ResidualStreamSettings) -> Finding:
    """The share of the residual stream's mean square that differs between samples.

    With the vector x of a sample at a position, its mean x̄ over the samples and their weights w,

        varies = Σ w |x - x̄|² / Σ w |x|²,

    which is 0 if the vector is the same for all samples, and 1 if its mean is zero. Nanda et al.,
    "Progress measures for grokking via mechanistic interpretability" (2023), begin with the first
    case: before attention, a token that is the same in all samples, with its position, has the same
    vector. Deviations are taken from the first sample, so that 0 is exact.

    Table ``positions``: a row for each block, each position and each ``place``: ``pre`` (before
    attention), ``mid`` (after attention) and ``post`` (after the MLP), with ``varies``, and
    ``rms``, the root of the mean square entry. Samples are those with a target at the answer's
    position, of a larger table at most 8,192.

    Scalars, at the position of the answer: ``varies_before_attention`` and
    ``varies_after_attention`` of the first block, and ``varies_at_end``, after the last one.

    What it does not show: whether anything reads what varies, or what it depends on (see
    ``sensitivity``). An untrained model mixes its inputs, too, so compare with step 0. A norm after
    the stream can remove a large common part.

    Raises:
        DoesNotApplyError: The model is no transformer of ablab.
    """
    at = answer_position(subject, settings.position)
    rows = chosen_samples(subject.probe, at, settings.seed)
    tokens = subject.probe.tokens[rows]
    weights = subject.probe.weights[rows] / subject.probe.weights[rows].sum()
    found: dict[str, _Moments] = {}
    for name, part, values in _streams(subject, tokens):
        found.setdefault(name, _Moments(values[0])).add(values, weights[part])
    table = pl.DataFrame(
        [row for name, moments in found.items() for row in moments.rows(name)], schema=_SCHEMA
    )
    here = table.filter(pl.col("position") == at)
    first = here.filter(pl.col("block") == pl.col("block").min())
    last = here.filter(pl.col("block") == pl.col("block").max())
    scalars = {
        "varies_before_attention": _varies(first, "pre"),
        "varies_after_attention": _varies(first, "mid"),
        "varies_at_end": _varies(last, "post"),
    }
    return Finding(scalars, {"positions": table})


_SCHEMA = {
    "block": pl.Int64,
    "place": pl.String,
    "position": pl.Int64,
    "varies": pl.Float64,
    "rms": pl.Float64,
}


def _streams(
    subject: Subject, tokens: NDArray[np.int64]
) -> Iterator[tuple[str, slice, NDArray[np.float64]]]:
    """The residual stream at each of its sites, (B, T, D), with the samples that it is of."""
    model = subject.model
    names = sites(model, torch.from_numpy(tokens[:1])) if isinstance(model, Model) else []
    names = [name for name in names if _SITE.fullmatch(name)]
    for part, found in passes(subject, tokens, names):
        for name in names:
            yield name, part, found.sites[name].double().numpy()


class _Moments:
    """Sums over samples of the vectors at each position, as deviations from one sample's.

    Args:
        reference: The vectors of that sample, (T, D).
    """

    def __init__(self, reference: NDArray[np.float64]) -> None:
        self._reference = reference
        self._sum = np.zeros_like(reference)
        self._squares, self._size = np.zeros(len(reference)), np.zeros(len(reference))

    def add(self, values: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        """Adds samples, (B, T, D), with their weights, (B,)."""
        apart = values - self._reference
        self._sum += np.einsum("b,btd->td", weights, apart)
        self._squares += np.einsum("b,btd,btd->t", weights, apart, apart)
        self._size += np.einsum("b,btd,btd->t", weights, values, values)

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        """A row of the table for each position."""
        match = _SITE.fullmatch(name)
        assert match is not None, "chosen by the pattern"
        variance = np.maximum(self._squares - np.square(self._sum).sum(-1), 0.0)
        for place, (own, size) in enumerate(zip(variance, self._size, strict=True)):
            yield {
                "block": int(match[1]),
                "place": match[2],
                "position": place,
                "varies": float(own / size) if size else None,
                "rms": float(np.sqrt(size / self._sum.shape[-1])),
            }


def _varies(table: pl.DataFrame, place: str) -> float | None:
    """The only value of some rows; None without one."""
    own = table.filter(pl.col("place") == place)["varies"].to_list()
    return own[0] if own else None
