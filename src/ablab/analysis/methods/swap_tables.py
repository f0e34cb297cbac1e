"""Tables of what exchanging the operands changes in neurons and logits. Axes: N, P, M, V."""

import statistics
from typing import Any

import numpy as np
import polars as pl
import torch

from ablab.analysis.methods.pairing import target_classes
from ablab.analysis.methods.resampling import corrected
from ablab.analysis.methods.roles import Operands
from ablab.analysis.methods.samples import Samples, samples_of
from ablab.analysis.methods.swapping import SwapChange, swap_change
from ablab.analysis.subject import Subject
from ablab.model.transformer import Transformer

_CHANGES = (
    "size",
    "spread",
    "change",
    "relative",
    "relative_same_answer",
    "p",
    "p_same_answer",
)


def swap_tables(
    subject: Subject, model: Transformer, operands: Operands, most: int, pairings: int, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, float | None]]:
    """The table of neurons, that of logits with one row, and the scalars ``swap_change_WHAT``.

    Args:
        subject: The subject.
        model: Its model.
        operands: The operands.
        most: The largest number of samples; those that the exchange does not change are left out.
        pairings: The number of random pairings with other samples.
        seed: The seed of what is drawn.
    """
    samples = _changing(subject, operands, most, seed)
    blocks = [n for n in range(len(model.blocks)) if model.config.block(n).mlp is not None]
    read = [f"blocks.{n}.mlp.post" for n in blocks]
    classes, at = target_classes(samples), samples.positions
    before = subject.forward(samples.tokens, read=read)
    after = subject.forward(torch.from_numpy(operands.swapped(samples.tokens.numpy())), read=read)

    def changed(first: torch.Tensor, second: torch.Tensor) -> SwapChange:
        """Of tensors (N, M, P)."""
        pair = first.double().numpy(), second.double().numpy()
        return swap_change(*pair, samples.weights, classes, pairings, seed)

    neurons = []
    for number, site in zip(blocks, read, strict=True):
        own = (each.sites[site][:, at].swapaxes(1, 2) for each in (before, after))
        neurons.append(_units(changed(*own)).with_columns(pl.lit(number, pl.Int64).alias("block")))
    logits = (each.logits[:, at].double() for each in (before, after))
    centred = ((own - own.mean(-1, keepdim=True)).flatten(1)[:, None] for own in logits)
    of_logits = _units(changed(*centred)).drop("unit")
    table = pl.concat(neurons) if neurons else _units(None).with_columns(block=pl.lit(0, pl.Int64))
    table = table.select("block", pl.col("unit").alias("neuron"), *_CHANGES)
    adjusted = corrected(table["p_same_answer"].to_list())
    table = table.with_columns(pl.Series("p_corrected", adjusted, pl.Float64))
    scalars: dict[str, float | None] = {}
    for name, column in (("", "relative"), ("_same_answer", "relative_same_answer")):
        known = table[column].drop_nulls().to_list()
        scalars[f"swap_change_neurons{name}"] = statistics.median(known) if known else None
        scalars[f"swap_change_logits{name}"] = of_logits[column].item()
    return table, of_logits, scalars


def _changing(subject: Subject, operands: Operands, most: int, seed: int) -> Samples:
    """The samples that the exchange changes, or a random part of them."""
    every = samples_of(subject.probe, len(subject.probe.tokens), seed)
    tokens = every.tokens.numpy()
    rows = np.flatnonzero((operands.swapped(tokens) != tokens).any(-1))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    return every.take(rows)


def _units(found: SwapChange | None) -> pl.DataFrame:
    """A row for each unit."""
    columns = {
        name: [] if found is None else [_finite(each) for each in getattr(found, name)]
        for name in _CHANGES
    }
    units = range(len(columns["change"]))
    return pl.DataFrame(
        {"unit": units, **columns},
        schema={"unit": pl.Int64, **dict.fromkeys(_CHANGES, pl.Float64)},
    )


def _finite(number: Any) -> float | None:
    return float(number) if np.isfinite(number) else None
