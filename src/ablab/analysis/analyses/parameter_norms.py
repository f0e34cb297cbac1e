"""Norms and effective ranks of parameters."""

from typing import Any

import polars as pl
import torch
from pydantic import Field
from torch import Tensor

from ablab.analysis.analysis import NOT_NEGATIVE, RANK, analysis
from ablab.analysis.figures import Bars
from ablab.analysis.finding import Finding
from ablab.analysis.subject import Subject
from ablab.config import Config, match_names


class ParameterNormsSettings(Config):
    """Settings of ``parameter_norms``."""

    parameters: tuple[str, ...] = Field(("*",), min_length=1)
    """Names or patterns of parameters."""


@analysis(
    "parameter_norms",
    question="How large is each parameter, and how many directions does it use?",
    inputs=["model"],
    cost="the singular values of each matrix",
    settings=ParameterNormsSettings,
    limits={"*/effective_rank": RANK, "*": NOT_NEGATIVE},
    figures=[
        Bars(
            "effective_rank",
            "Directions that each matrix uses",
            table="parameters",
            x=("parameter",),
            y="effective_rank",
            x_label="",
            y_label="effective rank",
        ),
        Bars(
            "spectral_norm",
            "Largest factor by which each matrix stretches a vector",
            table="parameters",
            x=("parameter",),
            y="spectral_norm",
            x_label="",
            y_label="spectral norm",
        ),
    ],
)
def parameter_norms(subject: Subject, settings: ParameterNormsSettings) -> Finding:
    """Root mean square, spectral norm and effective rank of each parameter.

    - ``rms``: √(Σ w² / n) over the n entries.
    - ``spectral_norm``: a matrix's largest singular value σ₁, the factor by which it can stretch a
      vector.
    - ``effective_rank``: (Σ σ²)² / Σ σ⁴, from 1 to the rank: R₀ of WᵀW in Bartlett et al., "Benign
      overfitting in linear regression" (2020), also known as the participation ratio; the same as
      the statistic ``param/NAME/effective_rank``.

    The last two apply to matrices; a tensor with more axes counts as a matrix of its first axis by
    the others. All are computed in float64. Each is a scalar ``PARAMETER/MEASURE``; the table
    ``parameters`` has a row per parameter, the table ``singular_values`` a row per singular value,
    the largest first (``index`` 1).
    """
    known = {name: each.detach() for name, each in subject.model.named_parameters()}
    names = match_names(settings.parameters, list(known), "the model has no parameter {}")
    rows, spectra = [], []
    for name in names:
        row, spectrum = _measured(known[name].to("cpu", torch.float64))
        rows.append({"parameter": name, **row})
        spectra.append(
            pl.DataFrame(
                {
                    "parameter": [name] * len(spectrum),
                    "index": range(1, len(spectrum) + 1),
                    "value": spectrum,
                },
                schema={"parameter": pl.String, "index": pl.Int64, "value": pl.Float64},
            )
        )
    table = pl.DataFrame(rows, schema=_SCHEMA)
    measures = ("rms", "spectral_norm", "effective_rank")
    scalars = {
        f"{row['parameter']}/{measure}": row[measure]
        for row in rows
        for measure in measures
        if measure == "rms" or row["axes"] > 1
    }
    return Finding(scalars, {"parameters": table, "singular_values": pl.concat(spectra)})


_SCHEMA = {
    "parameter": pl.String,
    "axes": pl.Int64,
    "entries": pl.Int64,
    "rms": pl.Float64,
    "spectral_norm": pl.Float64,
    "effective_rank": pl.Float64,
}


def _measured(w: Tensor) -> tuple[dict[str, Any], list[float]]:
    """A parameter's row of the table, and its singular values."""
    row: dict[str, Any] = {"axes": w.ndim, "entries": w.numel()}
    if not w.numel() or not bool(w.isfinite().all()):
        return row | {"rms": None, "spectral_norm": None, "effective_rank": None}, []
    row["rms"] = float(w.square().mean().sqrt())
    if w.ndim < 2:
        return row | {"spectral_norm": None, "effective_rank": None}, []
    values = torch.linalg.svdvals(w.flatten(1))
    largest = float(values[0])
    row["spectral_norm"] = largest
    squares = (values / largest).square() if largest else values
    row["effective_rank"] = float(squares.sum() ** 2 / squares.square().sum()) if largest else None
    return row, values.tolist()
