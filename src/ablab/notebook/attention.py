"""Attention patterns of a model on one sample, for notebooks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from ablab.config import InputError, Problem, counted
from ablab.logbook.finding_panels import MapCells
from ablab.logbook.hover import MOST_CELLS
from ablab.logbook.svg import figure_style
from ablab.model.base import Model
from ablab.model.interventions import sites, watch
from ablab.notebook.plot import Plot
from ablab.tasks.base import Task

_SITE = re.compile(r"(.+)\.attn\.pattern")
# Of the thinker: whether rows and columns are its latents.
_LATENTS = {"read": (True, False), "thoughts": (True, True), "write": (False, True)}
_PANELS = 12  # heads in one figure
_LABELS = 24  # positions above which not every one has a label
_ACROSS = 4  # panels in a row
_BLANKS = {" ": "␣", "\n": "↵", "\t": "⇥"}

Tokens = str | ArrayLike | Tensor
"""Text that the task converts to tokens, or token numbers of one sample."""


@dataclass(frozen=True)
class _Pattern:
    """The attention of one layer.

    Attributes:
        number: The place of the layer among those with attention.
        name: What the layer is called: ``layer 0``; of the thinker ``read``, ``thought 0``,
            ``write``.
        short: The same in a few letters.
        values: (H, Q, K).
        latents: Whether rows and columns are a thinker's latents, and not the tokens.
    """

    number: int
    name: str
    short: str
    values: NDArray[np.float64]
    latents: tuple[bool, bool] = (False, False)


@dataclass(frozen=True)
class _Head:
    """The attention of one head.

    Attributes:
        title: The layer and the head.
        short: The same under the cursor.
        pattern: (Q, K).
        rows: The labels of the queries.
        columns: The labels of the keys.
        memory: Whether some of these are a thinker's latents.
    """

    title: str
    short: str
    pattern: NDArray[np.float64]
    rows: Sequence[str]
    columns: Sequence[str]
    memory: bool


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
        layer: The layer; all by default. Of the thinker, 0 is what reads the tokens, and the
            thoughts and what writes the output follow.
        head: The head, counted within its layer; all by default.
        about: What the model is, for the caption.

    Raises:
        InputError: The model has no attention, no such layer or head, or cannot read the tokens.
    """
    check_number("layer", layer)
    check_number("head", head)
    sample = sample_tokens(task, tokens)
    assert isinstance(model, Model), "models of runs are ablab models"
    given = torch.from_numpy(sample)[None]
    labels = [_label(task, token) for token in sample]
    chosen = [
        _head(pattern, place, labels)
        for pattern in _patterns(model, given, layer)
        for place in _heads(pattern, head)
    ]
    shown = chosen[:_PANELS]
    text = _shortened(task.text(sample))
    of = f" of {about}" if about else ""
    figure, maps = _draw(shown, f"attention{of} on {text!r}")
    notes = ["from the token of a row to that of a column."]
    if any(each.memory for each in shown):
        notes.append("m0, m1, … are the vectors of the model's memory.")
    if len(chosen) > _PANELS:
        notes.append(f"The first {_PANELS} of {len(chosen)} heads are drawn.")
    if sum(each.values.size for each in maps) > MOST_CELLS:
        notes.append(
            f"With more than {MOST_CELLS:,} cells there are no values under the cursor: choose a "
            "layer, a head or a shorter sample."
        )
    heads = counted(len(shown), "head")
    return Plot(
        figure,
        f"attention{of} on {text!r}: {heads}",
        f"Attention{of} on {text!r}: {' '.join(notes)}",
        maps,
    )


def sample_tokens(task: Task, tokens: Tokens | None) -> NDArray[np.int64]:
    """The tokens of one sample, (T,).

    Raises:
        InputError: The task cannot convert the text, or the numbers are not those of its tokens.
    """
    if tokens is None:
        return np.asarray(task.held_out(1).tokens[0], np.int64)
    if isinstance(tokens, str):
        try:
            if not tokens:
                raise ValueError("there are none")
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
    size = task.config.vocab_size
    try:
        found = np.asarray(tokens.detach().cpu() if isinstance(tokens, Tensor) else tokens)
    except (TypeError, ValueError):  # rows of unequal length
        raise _not_tokens(tokens, size) from None
    if found.dtype.kind not in "iu":
        raise _not_tokens(tokens if found.size else "nothing", size)
    if found.ndim == 2 and len(found) == 1:
        found = found[0]
    if found.ndim != 1 or not found.size or found.min() < 0 or found.max() >= size:
        ends = f", from {found.min()} to {found.max()}" if found.size else ""
        raise _not_tokens(f"shape {found.shape}{ends}", size)
    return found.astype(np.int64)


def _not_tokens(given: object, size: int) -> InputError:
    expected = f"whole numbers from 0 to {size - 1} of shape (T,), or text"
    return InputError(
        Problem("these are not the tokens of one sample", given=given, expected=expected)
    )


def check_number(key: str, value: object) -> None:
    """Rejects what is neither a whole number nor None.

    Raises:
        InputError: It is something else.
    """
    if value is None or (isinstance(value, int | np.integer) and not isinstance(value, bool)):
        return
    raise InputError(
        Problem(f"the {key} is not a whole number", key, given=value, expected="such as 0")
    )


def _patterns(model: Model, tokens: Tensor, layer: int | None) -> list[_Pattern]:
    """The patterns of each layer, in the order of the pass."""
    try:
        names = [name for name in sites(model, tokens) if _SITE.fullmatch(name)]
    except ValueError as error:  # too many tokens
        raise InputError(Problem("the model cannot read these tokens", given=str(error))) from error
    if not names:
        raise InputError(
            Problem(
                "the model has no attention that can be drawn",
                given=type(model).__name__,
                expected="sites such as blocks.0.attn.pattern",
            )
        )
    if layer is not None and not 0 <= layer < len(names):
        raise InputError(
            Problem(
                "the model has no such layer",
                "layer",
                given=layer,
                expected="one of " + ", ".join(map(str, range(len(names)))),
            )
        )
    wanted = list(enumerate(names)) if layer is None else [(layer, names[layer])]
    with torch.no_grad():
        _, seen = watch(model, tokens, [name for _, name in wanted])
    return [_named(place, name, seen[name][0].double().cpu().numpy()) for place, name in wanted]


def _named(place: int, site: str, values: NDArray[np.float64]) -> _Pattern:
    """The pattern at a site, with its name."""
    found = _SITE.fullmatch(site)
    assert found is not None, "chosen by it"
    kind, _, number = found[1].partition(".")
    latents = _LATENTS.get(kind, (False, False))
    if kind == "blocks":
        return _Pattern(place, f"layer {number}", f"L{number}", values)
    name = f"{kind.removesuffix('s')} {number}".strip() if kind in _LATENTS else found[1]
    return _Pattern(place, name, f"{name} ", values, latents)


def _heads(pattern: _Pattern, head: int | None) -> list[int]:
    count = len(pattern.values)
    if head is None:
        return list(range(count))
    if not 0 <= head < count:
        raise InputError(
            Problem(
                f"{pattern.name} has no such head",
                "head",
                given=head,
                expected=f"a number from 0 to {count - 1}",
            )
        )
    return [int(head)]


def _head(pattern: _Pattern, place: int, labels: Sequence[str]) -> _Head:
    """A head; its positions are the first tokens, or numbered latents (``m0``, …)."""
    values = pattern.values[place]
    rows, columns = (
        [f"m{n}" for n in range(count)] if latent or count > len(labels) else labels[:count]
        for count, latent in zip(values.shape, pattern.latents, strict=True)
    )
    title, short = f"{pattern.name}, head {place}", f"{pattern.short}H{place}"
    return _Head(title, short, values, rows, columns, any(pattern.latents))


def _draw(chosen: Sequence[_Head], title: str) -> tuple[Figure, list[MapCells]]:
    """A heat map for each head, on one scale."""
    across = min(_ACROSS, len(chosen))
    down = -(-len(chosen) // across)
    size = 4.2 if len(chosen) == 1 else 8.4 / max(across, 2)
    low = min(0.0, *(float(each.pattern.min()) for each in chosen))
    high = max(float(each.pattern.max()) for each in chosen)
    top = max(high, -low) or 1.0
    limits, colours = ((-top, top), "RdBu_r") if low < 0 else ((0.0, top), "viridis")
    with figure_style():
        figure = Figure(figsize=(size * across + 0.9, size * down + 0.3), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=9)
        grid = figure.subplots(down, across, squeeze=False)
        every = [axes for row in grid for axes in row]
        for place, (axes, head) in enumerate(zip(every, chosen, strict=False)):
            square = head.pattern.shape[0] == head.pattern.shape[1]
            image = axes.imshow(
                head.pattern, vmin=limits[0], vmax=limits[1], cmap=colours,
                interpolation="nearest", aspect="equal" if square else "auto",
            )  # fmt: skip
            axes.set_title(head.title, fontsize=8, loc="left")
            _name_positions(axes, head, len(chosen) == 1)
            axes.set_ylabel("from" if place % across == 0 else "")
            axes.set_xlabel("to" if place + across >= len(chosen) else "")
        for axes in every[len(chosen) :]:
            axes.set_visible(False)
        shown = every[: len(chosen)]
        figure.colorbar(image, ax=shown, pad=0.02, fraction=0.05)
        figure.draw_without_rendering()
        boxes = [axes.get_position() for axes in shown]
    maps = [
        MapCells(
            (box.x0, 1 - box.y1, box.x1, 1 - box.y0),
            head.pattern,
            head.short,
            [f"from {name} ({place})" for place, name in enumerate(head.rows)],
            [f"to {name} ({place})" for place, name in enumerate(head.columns)],
        )
        for box, head in zip(boxes, chosen, strict=True)
    ]
    return figure, maps


def _name_positions(axes: Axes, head: _Head, alone: bool) -> None:
    """Labels of positions at both axes; of many, evenly spaced ones."""
    most = _LABELS if alone else _LABELS // 2
    for axis, labels in ((axes.xaxis, head.columns), (axes.yaxis, head.rows)):
        places = range(0, len(labels), -(-len(labels) // most))
        names = [labels[place] for place in places]
        turned = 90 if axis is axes.xaxis and max(map(len, names)) > 2 else 0
        axis.set_ticks(places, names, fontsize=7, rotation=turned)
    axes.tick_params(length=0)


def _label(task: Task, token: np.int64) -> str:
    """A token as text that can be seen: ∅ if its text is empty (padding), its number if it fails.

    Blanks are shown as symbols, and long text is shortened.
    """
    try:
        text = task.text(np.array([token]))
    except (ValueError, IndexError):
        return str(token)
    return _shortened("".join(_BLANKS.get(each, each) for each in text) or "∅", 8)


def _shortened(text: str, most: int = 40) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
