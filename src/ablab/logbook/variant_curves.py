"""The curves of an entry's variants as a static figure."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablab.experiments.experiment import variant_label
from ablab.logbook.colours import CROWDED, DASHES, PALETTE, Style, Styles, styles
from ablab.logbook.drawing_cache import cached_drawing
from ablab.logbook.labels import fitted
from ablab.logbook.mark_drawing import draw_marks
from ablab.logbook.scales import after_start, is_uneven, is_wide
from ablab.logbook.svg import PAPER, SOFT, figure_style, logarithmic, plain_axes, svg
from ablab.read.bands import Band
from ablab.read.measure_words import column_words

FEW = 12  # with more variants than this, the curves of single seeds would hide each other
_MARKED = 8  # with more variants than this, marks would overlap
_NAME = 60  # maximum length of a variant's name
_POINTS = "os^Dv*P"  # the shapes at the ends of curves, by the place of the colour


@cached_drawing
def curves(
    bands: Sequence[Band],
    column: str,
    levels: dict[str, float],
    marks: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    cells: Sequence[Mapping[str, Any]] = (),
    main: str | None = None,
    planned: Mapping[str, int] | None = None,
) -> str:
    """The curves of a column, as an SVG document: thin for each seed, thick for the median.

    With more than ``FEW`` variants, a faint band from the lowest to the highest value stands for
    the seeds. Restarts are thin marks at the bottom, in the colour of their variant. If there are
    few curves, the findings of the curve reader are marked.

    Args:
        bands: The curves of the variants.
        column: The name of the column.
        levels: Natural levels, by name; drawn as thin lines if they are within the range.
        marks: The marks of the curve reader, by label of the variant.
        cells: The variants of the whole grid, which determine colours and names; by default, those
            that have curves.
        main: The setting that colours show if they can show only one.
        planned: The step at which each variant's curve will end, by its label.
    """
    with figure_style():
        return svg(draw_curves(bands, column, levels, marks, cells, main, planned))


def draw_curves(
    bands: Sequence[Band],
    column: str,
    levels: Mapping[str, float],
    marks: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    cells: Sequence[Mapping[str, Any]] = (),
    main: str | None = None,
    planned: Mapping[str, int] | None = None,
    x_label: str = "step",
) -> Figure:
    """The figure of :func:`curves`, with the same arguments.

    Args:
        bands: The curves of the variants.
        column: The name of the column.
        levels: Natural levels, by name.
        marks: The marks of the curve reader, by label of the variant.
        cells: The variants of the whole grid.
        main: The setting that colours show if they can show only one.
        planned: The step at which each variant's curve will end, by its label.
        x_label: What the x axis shows.
    """
    look = _look(bands, cells, main)
    uneven = is_uneven(bands, planned)
    bands = after_start(bands) if uneven else bands
    ordered = sorted(bands, key=lambda band: look[1].index(band.label))
    with figure_style():
        figure = Figure(figsize=(7.5, 4.4), layout="constrained")
        axes = figure.subplots()
        plain_axes(axes)
        for band in ordered:
            _draw_band(axes, band, look[0].styles[_place(look, band)], len(bands))
        if is_wide(bands):
            logarithmic(axes)
        if uneven:
            logarithmic(axes, "x")
        axes.margins(x=0.01)
        _draw_levels(axes, bands, levels if column.endswith("loss") else {})
        if marks and len(bands) <= _MARKED:
            of_bands = [
                (band, look[0].styles[_place(look, band)].colour, marks.get(band.label, ()))
                for band in ordered
            ]
            draw_marks(axes, of_bands)
        axes.set_xlabel(x_label)
        axes.set_ylabel(column_words(column))
        if len(bands) > CROWDED:
            _name_colours(figure, look[0])
        elif len(bands) > 1:
            _name_variants(figure, [(look[0], _place(look, band)) for band in ordered])
        return figure


def both_losses(
    training: Sequence[Band],
    held_out: Sequence[Band],
    levels: dict[str, float],
    cells: Sequence[Mapping[str, Any]] = (),
    planned: Mapping[str, int] | None = None,
) -> str | None:
    """The training loss (solid) and the held-out loss (dashed) of each variant on the same axes.

    Args:
        training: The curves of the training loss.
        held_out: Those of the held-out loss.
        levels: Natural levels, by name.
        cells: The variants of the whole grid.
        planned: The step at which each variant's curve will end, by its label.

    Returns:
        An SVG document; None if there are more variants than can be told apart.
    """
    look = _look(training, cells, None)
    if len(training) > len(PALETTE) or any(band.label not in look[2] for band in held_out):
        return None
    drawing: str = _both_losses(training, held_out, levels, look, planned)
    return drawing


@cached_drawing
def _both_losses(
    training: Sequence[Band],
    held_out: Sequence[Band],
    levels: dict[str, float],
    look: "_Look",
    planned: Mapping[str, int] | None,
) -> str:
    uneven = is_uneven([*training, *held_out], planned)
    if uneven:
        training, held_out = after_start(training), after_start(held_out)
    ordered = sorted(training, key=lambda band: look[1].index(band.label))
    colours = {band.label: PALETTE[place] for place, band in enumerate(ordered)}
    with figure_style():
        figure = Figure(figsize=(7.5, 4.4), layout="constrained")
        axes = figure.subplots()
        plain_axes(axes)
        for bands, style in ((training, "solid"), (held_out, (0, (4, 2)))):
            for band in bands:
                for seed in band.seeds:
                    axes.plot(
                        seed.steps, seed.values, color=colours[band.label], lw=0.5, alpha=0.3,
                        linestyle=style,
                    )  # fmt: skip
                axes.plot(
                    band.steps, band.values, color=colours[band.label], linestyle=style, lw=1.6
                )
        every = [*training, *held_out]
        if is_wide(every):
            logarithmic(axes)
        if uneven:
            logarithmic(axes, "x")
        axes.margins(x=0.01)
        _draw_levels(axes, every, levels)
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        handles = [Line2D([], [], color=SOFT), Line2D([], [], color=SOFT, linestyle=(0, (4, 2)))]
        names = ["training", "held-out"]
        if len(ordered) > 1:
            handles += [Line2D([], [], color=colours[band.label]) for band in ordered]
            names += [fitted(look[0].names[_place(look, band)], _NAME) for band in ordered]
        columns = max(1, min(4, 108 // (max(map(len, names)) + 9)))
        figure.legend(handles, names, loc="outside lower left", ncols=columns, handlelength=3)
        return svg(figure)


_Look = tuple[Styles, list[str], dict[str, int]]


def _look(bands: Sequence[Band], cells: Sequence[Mapping[str, Any]], main: str | None) -> _Look:
    """The styles, the labels in the order of listing, and the place of each label."""
    whole = {variant_label(cell): cell for cell in cells}
    if any(band.label not in whole for band in bands):
        whole = {band.label: band.keys for band in bands}
    found = styles(list(whole.values()), main)
    labels = list(whole)
    places = {label: place for place, label in enumerate(labels)}
    return found, [labels[place] for place in found.order], places


def _place(look: _Look, band: Band) -> int:
    return look[2][band.label]


def _draw_band(axes: Axes, band: Band, style: Style, count: int) -> None:
    """A variant's median, its seeds or range, and its restarts."""
    colour = style.colour
    if count <= FEW:
        for seed in band.seeds:
            axes.plot(seed.steps, seed.values, color=colour, lw=0.6, alpha=0.45)
            if seed.low != seed.high:
                axes.fill_between(seed.steps, seed.low, seed.high, color=colour, alpha=0.08, lw=0)
    if (count <= CROWDED and not band.seeds) or FEW < count <= CROWDED:
        axes.fill_between(band.steps, band.low, band.high, color=colour, alpha=0.1, lw=0)
    axes.plot(
        band.steps,
        band.values,
        color=colour,
        linestyle=_linestyle(style),
        lw=0.7 if count > CROWDED else 1.6,
    )
    if count <= CROWDED and band.steps:
        axes.plot(
            [band.steps[-1]], [band.values[-1]], _POINTS[style.shape], ms=4.5, color=colour,
            mec=PAPER, mew=0.6, clip_on=False, zorder=4,
        )  # fmt: skip
    axes.vlines(band.restarts, 0, 0.05, transform=axes.get_xaxis_transform(), color=colour, lw=0.7)


def _linestyle(style: Style) -> Any:
    dash = DASHES[style.dash]
    return (0, tuple(length / 1.6 for length in dash)) if dash else "solid"


def _draw_levels(axes: Axes, bands: Sequence[Band], levels: Mapping[str, float]) -> None:
    """Dotted lines at natural levels within the range of the curves."""
    low = min(min(band.low) for band in bands)
    high = max(max(band.high) for band in bands)
    for name, level in levels.items():
        if low <= level <= high:
            axes.axhline(level, color=SOFT, lw=0.7, ls=":", zorder=1)
            axes.annotate(
                name, (1.0, level), xycoords=("axes fraction", "data"), fontsize=8, color=SOFT,
                ha="right", va="bottom", gid="level",
            )  # fmt: skip


def _name_variants(figure: Figure, variants: Sequence[tuple[Styles, int]]) -> None:
    """A legend of the variants, below the figure."""
    handles = [_handle(look.styles[place]) for look, place in variants]
    names = [fitted(look.names[place], _NAME) for look, place in variants]
    columns = max(1, min(4, len(names), 108 // (max(map(len, names)) + 9)))
    figure.legend(handles, names, loc="outside lower left", ncols=columns, handlelength=3)


def _handle(style: Style) -> Line2D:
    return Line2D(
        [], [], color=style.colour, linestyle=_linestyle(style), lw=1.6,
        marker=_POINTS[style.shape], ms=4.5, mec=PAPER, mew=0.6,
    )  # fmt: skip


def _name_colours(figure: Figure, look: Styles) -> None:
    """A legend of the axis that the colours show, of at most a dozen of its values."""
    axis = look.by if look.by is not None else look.axes[0]
    last = len(axis.values) - 1
    few = sorted({round(last * place / 11) for place in range(12)})
    handles = [Line2D([], [], color=axis.colours[place], lw=1.6) for place in few]
    names = [fitted(axis.values[place], _NAME // 2) for place in few]
    columns = max(1, min(6, 100 // (max(map(len, names)) + 8)))
    figure.legend(
        handles, names, title=f"colours show {axis.short}", loc="outside lower left", ncols=columns
    )
