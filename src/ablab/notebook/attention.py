"""Attention patterns of a model on one sample, for notebooks."""

import re
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from ablab.config import InputError, Problem, counted
from ablab.logbook.finding_panels import MapCells
from ablab.logbook.svg import figure_style
from ablab.model.base import Model
from ablab.model.interventions import sites, watch
from ablab.notebook.plot import Plot
from ablab.tasks.base import Task

_SITE = re.compile(r"blocks\.(\d+)\.attn\.pattern")
_PANELS = 12  # heads in one figure
_LABELS = 24  # positions above which not every one has a label
_ACROSS = 4  # panels in a row
_BLANKS = {" ": "␣", "\n": "↵", "\t": "⇥", "": "∅"}

Tokens = str | ArrayLike | Tensor
"""Text that the task converts to tokens, or token numbers of one sample."""


def plot_attention(
    model: nn.Module,
    task: Task,
    tokens: Tokens | None,
    layer: int | None = None,
    head: int | None = None,
    about: str = "",
) -> Plot:
    """The attention patterns of a model on one sample: a heat map for each head.

    Args:
        model: An ablab model.
        task: The task that the tokens are of.
        tokens: Text, token numbers (T,), or None for the first held-out sample.
        layer: The layer; all by default.
        head: The head; all by default.
        about: What the model is, for the caption.

    Raises:
        InputError: The model has no attention, no such layer or head, or cannot read the tokens.
    """
    sample = sample_tokens(task, tokens)
    assert isinstance(model, Model), "models of runs are ablab models"
    given = torch.from_numpy(sample)[None]
    patterns = _patterns(model, given, layer)
    chosen = [
        (number, place, pattern[place])
        for number, pattern in patterns
        for place in _heads(len(pattern), number, head)
    ]
    shown = chosen[:_PANELS]
    more = (
        f" The first {_PANELS} of {len(chosen)} heads are drawn." if len(chosen) > _PANELS else ""
    )
    labels = [_label(task, token) for token in sample]
    figure, maps = _draw(shown, labels)
    text = task.text(sample)
    of = f" of {about}" if about else ""
    caption = (
        f"Attention{of} on {_shortened(text)!r}: from the token of a row to that of a column.{more}"
    )
    heads = counted(len(shown), "head")
    return Plot(figure, f"attention{of} on {_shortened(text)!r}: {heads}", caption, maps)


def sample_tokens(task: Task, tokens: Tokens | None) -> NDArray[np.int64]:
    """The tokens of one sample, (T,).

    Raises:
        InputError: The task cannot convert the text, or the numbers are not those of its tokens.
    """
    if tokens is None:
        return np.asarray(task.held_out(1).tokens[0], np.int64)
    if isinstance(tokens, str):
        try:
            return np.asarray(task.tokens(tokens), np.int64)
        except ValueError as error:
            example = task.text(task.held_out(1).tokens[0])
            raise InputError(
                Problem(
                    f"the task {task.config.kind} cannot read these tokens: {error}",
                    given=tokens,
                    expected=f"text such as {example!r}",
                )
            ) from error
    found = np.asarray(tokens.detach().cpu() if isinstance(tokens, Tensor) else tokens)
    size = task.config.vocab_size
    if found.ndim == 2 and len(found) == 1:
        found = found[0]
    whole = found.dtype.kind in "iu" and found.ndim == 1 and found.size > 0
    if not whole or found.min() < 0 or found.max() >= size:
        raise InputError(
            Problem(
                "these are not the tokens of one sample",
                given=f"shape {found.shape}, from {found.min()} to {found.max()}"
                if found.size
                else "nothing",
                expected=f"whole numbers from 0 to {size - 1} of shape (T,), or text",
            )
        )
    return found.astype(np.int64)


def _patterns(
    model: Model, tokens: Tensor, layer: int | None
) -> list[tuple[int, NDArray[np.float64]]]:
    """The number and the pattern (H, T, S) of each layer."""
    try:
        layers = [
            int(found[1]) for name in sites(model, tokens) if (found := _SITE.fullmatch(name))
        ]
    except ValueError as error:  # too many tokens
        raise InputError(Problem("the model cannot read these tokens", given=str(error))) from error
    if not layers:
        raise InputError(Problem("the model has no attention", given=type(model).__name__))
    if layer is not None and layer not in layers:
        raise InputError(
            Problem(
                "the model has no such layer",
                "layer",
                given=layer,
                expected="one of " + ", ".join(map(str, layers)),
            )
        )
    wanted = layers if layer is None else [layer]
    with torch.no_grad():
        _, seen = watch(model, tokens, [f"blocks.{number}.attn.pattern" for number in wanted])
    return [
        (number, seen[f"blocks.{number}.attn.pattern"][0].double().cpu().numpy())
        for number in wanted
    ]


def _heads(count: int, layer: int, head: int | None) -> list[int]:
    if head is None:
        return list(range(count))
    if not 0 <= head < count:
        raise InputError(
            Problem(
                f"layer {layer} has no such head",
                "head",
                given=head,
                expected=f"a number from 0 to {count - 1}",
            )
        )
    return [head]


def _draw(
    chosen: Sequence[tuple[int, int, NDArray[np.float64]]], labels: Sequence[str]
) -> tuple[Figure, list[MapCells]]:
    """A heat map for each head, on one scale."""
    across = min(_ACROSS, len(chosen))
    down = -(-len(chosen) // across)
    size = 4.2 if len(chosen) == 1 else 8.4 / max(across, 2)
    low = min(0.0, *(float(each.min()) for _, _, each in chosen))
    high = max(float(each.max()) for _, _, each in chosen)
    top = max(high, -low) or 1.0
    limits, colours = ((-top, top), "RdBu_r") if low < 0 else ((0.0, top), "viridis")
    with figure_style():
        figure = Figure(figsize=(size * across + 0.9, size * down), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False)
        every = [axes for row in grid for axes in row]
        for axes, (layer, head, pattern) in zip(every, chosen, strict=False):
            image = axes.imshow(
                pattern, vmin=limits[0], vmax=limits[1], cmap=colours, interpolation="nearest"
            )
            axes.set_title(f"layer {layer}, head {head}", fontsize=8, loc="left")
            _name_positions(axes, labels, len(chosen) == 1)
        for axes in every[len(chosen) :]:
            axes.set_visible(False)
        every[0].set_ylabel("from")
        every[0].set_xlabel("to")
        shown = every[: len(chosen)]
        figure.colorbar(image, ax=shown, label="attention", pad=0.02, fraction=0.05)
        figure.draw_without_rendering()
        boxes = [axes.get_position() for axes in shown]
    rows = [f"from {name} ({place})" for place, name in enumerate(labels)]
    columns = [f"to {name} ({place})" for place, name in enumerate(labels)]
    maps = [
        MapCells(
            (box.x0, 1 - box.y1, box.x1, 1 - box.y0), pattern, f"L{layer}H{head}", rows, columns
        )
        for box, (layer, head, pattern) in zip(boxes, chosen, strict=True)
    ]
    return figure, maps


def _name_positions(axes: Axes, labels: Sequence[str], alone: bool) -> None:
    """Labels of tokens at both axes; of many positions, evenly spaced ones."""
    most = _LABELS if alone else _LABELS // 2
    every = -(-len(labels) // most)
    places = range(0, len(labels), every)
    names = [labels[place] for place in places]
    turned = 90 if max(map(len, names)) > 2 else 0
    axes.set_xticks(places, names, fontsize=7, rotation=turned)
    axes.set_yticks(places, names, fontsize=7)
    axes.tick_params(length=0)


def _label(task: Task, token: np.int64) -> str:
    """A token as text that can be seen; its number if its text is empty (padding) or fails."""
    try:
        text = task.text(np.array([token]))
    except (ValueError, IndexError):
        return str(token)
    return _shortened("".join(_BLANKS.get(each, each) for each in text) or "∅", 8)


def _shortened(text: str, most: int = 40) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
