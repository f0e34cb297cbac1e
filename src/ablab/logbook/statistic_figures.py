"""Figures of statistics by layer, attention patterns, and histograms over time."""

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

_LAYER = re.compile(r"\bblocks\.(\d+)\.")
_WIDE_RANGE = 30.0  # ratio of values above which an axis is logarithmic
_STEPS, _HEADS, _BINS = 5, 8, 48  # maximum numbers shown
_POINTS = 400  # maximum number of points of a curve


@dataclass(frozen=True)
class LayerGroup:
    """A statistic over several layers.

    Attributes:
        name: Its name, with ``blocks.*`` in place of the number of the block, if it has one.
        columns: The columns by number of the block, in order; 0 if it has none.
    """

    name: str
    columns: dict[int, str]


def layer_groups(columns: Sequence[str]) -> list[LayerGroup]:
    """Groups columns that differ only in the number of the block."""
    groups: dict[str, dict[int, str]] = {}
    for column in columns:
        found = _LAYER.search(column)
        name = _LAYER.sub("blocks.*.", column)
        groups.setdefault(name, {})[int(found.group(1)) if found else 0] = column
    return [LayerGroup(name, dict(sorted(found.items()))) for name, found in groups.items()]


def layer_curves(frame: pl.DataFrame, group: LayerGroup) -> str:
    """A curve over steps for each layer, as SVG.

    Args:
        frame: The columns ``step`` and those of the group; rows of equal step are averaged.
        group: The statistic to draw.
    """
    steps, table = _table(frame, group)
    with _style():
        figure = Figure(figsize=(7.5, 3.6), layout="constrained")
        axes = figure.subplots()
        # Layers are ordered, so their colours come from a sequential colour map.
        shades = mpl.colormaps["viridis"](np.linspace(0.0, 0.85, len(group.columns)))
        for row, layer, shade in zip(table, group.columns, shades, strict=True):
            label = f"block {layer}" if "blocks.*" in group.name else None
            axes.plot(steps, row, color=shade, lw=1.4, label=label)
        _scale(axes, table)
        axes.set_xlabel("step")
        axes.set_ylabel(group.name, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.01)
        if len(group.columns) > 1:
            axes.legend(frameon=False, fontsize=8, ncols=1 + len(group.columns) // 9)
        return _svg(figure)


def layer_heat(frame: pl.DataFrame, group: LayerGroup) -> str:
    """A heat map of layers and steps, as SVG; see :func:`layer_curves`."""
    steps, table = _table(frame, group)
    with _style():
        figure = Figure(figsize=(7.5, 1.2 + 0.3 * len(table)), layout="constrained")
        axes = figure.subplots()
        mesh = axes.pcolormesh(
            _edges(steps),
            np.arange(len(table) + 1) - 0.5,
            table,
            cmap="viridis",
            norm=LogNorm() if _is_wide(table) else None,
            rasterized=True,
        )
        axes.set_yticks(range(len(table)), [str(layer) for layer in group.columns])
        axes.set_xlabel("step")
        axes.set_ylabel("block")
        figure.colorbar(mesh, ax=axes, pad=0.01)
        axes.set_title(group.name, fontsize=9, loc="left")
        return _svg(figure)


def pattern_grid(captures: Mapping[int, NDArray[np.float64]], site: str) -> str:
    """Attention patterns as a grid of heads at several steps, as SVG.

    Args:
        captures: The patterns by step, each (B, H, T, S); the mean over samples is drawn.
        site: The name of the pattern.
    """
    shown = spaced(sorted(captures), _STEPS)
    heads = min(next(iter(captures.values())).shape[1], _HEADS)
    with _style():
        figure = Figure(figsize=(0.8 + 1.15 * heads, 0.5 + 1.2 * len(shown)), layout="constrained")
        grid = figure.subplots(len(shown), heads, squeeze=False)
        image = None
        for row, step in zip(grid, shown, strict=True):
            pattern = captures[step].mean(axis=0)  # (H, T, S)
            for head, axes in enumerate(row):
                image = axes.imshow(pattern[head], cmap="viridis", vmin=0, vmax=1, aspect="auto")
                axes.set_xticks([])
                axes.set_yticks([])
                if head == 0:
                    axes.set_ylabel(f"step {step}", fontsize=8)
                if step == shown[0]:
                    axes.set_title(f"head {head}", fontsize=8)
        assert image is not None, "at least one step is shown"
        figure.colorbar(image, ax=grid.ravel().tolist(), pad=0.01, shrink=0.8)
        figure.suptitle(f"{site}: rows are queries, columns keys", fontsize=9)
        return _svg(figure)


def histograms(captures: Mapping[int, NDArray[np.float64]], name: str) -> str:
    """Histograms of a tensor's values at each captured step, as SVG.

    Args:
        captures: The tensor by step.
        name: The name of the tensor.
    """
    steps = sorted(captures)
    finite = [values[np.isfinite(values)] for values in (captures[step] for step in steps)]
    reach = max((np.quantile(np.abs(values), 0.999) for values in finite if len(values)), default=1)
    edges = np.linspace(-reach, reach, _BINS + 1) if reach else np.linspace(-1, 1, _BINS + 1)
    table = np.stack([np.histogram(values, edges)[0] for values in finite], axis=1).astype(float)
    table /= np.maximum(table.sum(axis=0, keepdims=True), 1)
    table[table == 0] = np.nan
    with _style():
        figure = Figure(figsize=(7.5, 3.2), layout="constrained")
        axes = figure.subplots()
        mesh = axes.pcolormesh(
            np.arange(len(steps) + 1) - 0.5, edges, table, cmap="viridis",
            norm=LogNorm(), rasterized=True,
        )  # fmt: skip
        marks = spaced(list(range(len(steps))), 10)
        axes.set_xticks(marks, [str(steps[mark]) for mark in marks])
        axes.set_xlabel("captured after step")
        axes.set_ylabel("value")
        figure.colorbar(mesh, ax=axes, pad=0.01, label="fraction of entries")
        axes.set_title(name, fontsize=9, loc="left")
        return _svg(figure)


def _table(
    frame: pl.DataFrame, group: LayerGroup
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The steps at which any column was logged, (n,), and the values, (layers, n)."""
    columns = list(group.columns.values())
    kept = frame.select("step", *columns).filter(
        pl.any_horizontal(pl.col(name).is_not_null() for name in columns)
    )
    kept = kept.group_by("step").agg(pl.col(columns).mean()).sort("step")
    if kept.height > _POINTS:  # neighbouring steps share a point
        size = -(-kept.height // _POINTS)
        kept = (
            kept.with_row_index("_at")
            .group_by(pl.col("_at") // size, maintain_order=True)
            .agg(pl.col("step").last(), pl.col(columns).mean())
        )
    table = kept.select(columns).to_numpy().astype(np.float64).T
    return kept["step"].to_numpy().astype(np.float64), np.where(np.isfinite(table), table, np.nan)


def _edges(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The edges of the cells around steps, (n + 1,)."""
    if len(steps) == 1:
        return np.array([steps[0] - 0.5, steps[0] + 0.5])
    middle = (steps[1:] + steps[:-1]) / 2
    first, last = 2 * steps[0] - middle[0], 2 * steps[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])


def _scale(axes: Axes, table: NDArray[np.float64]) -> None:
    if _is_wide(table):
        axes.set_yscale("log")


def _is_wide(table: NDArray[np.float64]) -> bool:
    known = table[np.isfinite(table)]
    return bool(len(known)) and known.min() > 0 and known.max() / known.min() > _WIDE_RANGE


def spaced(items: list[int], most: int) -> list[int]:
    """At most ``most`` evenly spaced items, including the first and the last."""
    if len(items) <= most:
        return items
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, most)]


def _style() -> AbstractContextManager[None]:
    style: AbstractContextManager[None] = mpl.rc_context(
        {"svg.fonttype": "none", "font.size": 9, "svg.hashsalt": "ablab"}
    )
    return style


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", dpi=150, metadata={"Date": None, "Creator": "ablab"})
    text = file.getvalue()
    return text[text.index("<svg") :]
