"""A measure against each numeric setting, where several of them vary together."""

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ablab.experiments.short_names import differing_keys, short_keys
from ablab.logbook.colours import PALETTE
from ablab.logbook.numeric_setting import as_number, is_geometric
from ablab.logbook.run_dots import draw_runs
from ablab.logbook.svg import SOFT, logarithmic, plain_axes
from ablab.logbook.variant_values import MeasuredVariants, VariantValues
from ablab.read.effects.trends import MANY

MOST_PANELS = 4
"""With more settings than this, only the first ones have a panel."""
_WIDTH = 5.6  # inches; text stays legible on a phone
_REPEATED = 2  # variants with the same value, on average, at the most


def point_settings(found: MeasuredVariants) -> dict[str, list[float]]:
    """The numeric settings that have almost as many values as there are variants, by their keys.

    Empty unless there are at least two such settings, as in a Sobol sequence.
    """
    numbers = {
        key: [as_number(row.keys.get(key)) for row in found.variants]
        for key in differing_keys([row.keys for row in found.variants])
    }
    settings = {
        key: [each for each in values if each is not None]
        for key, values in numbers.items()
        if None not in values
    }
    least = max(MANY, len(found.variants) / _REPEATED)
    many = {key: values for key, values in settings.items() if len(set(values)) >= least}
    return many if len(many) > 1 else {}


def points_figure(
    found: MeasuredVariants, settings: dict[str, list[float]], best: VariantValues | None
) -> Figure:
    """A panel for each setting, with a dot for each run and a bar for the median of each variant.

    Args:
        found: The measure of all variants.
        settings: The values of each setting, as :func:`point_settings` gives them, of which the
            first four are drawn.
        best: The variant that is circled; None for none.
    """
    settings = dict(list(settings.items())[:MOST_PANELS])
    short = short_keys(differing_keys([row.keys for row in found.variants]))
    columns = 2
    rows = -(-len(settings) // columns)
    figure = Figure(figsize=(_WIDTH, 0.5 + 2.4 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(settings) :]:
        axes.set_visible(False)
    for axes, (key, values) in zip(grid.flat, settings.items(), strict=False):
        plain_axes(axes)
        if found.is_wide:
            logarithmic(axes)
        if is_geometric(sorted(set(values))):
            logarithmic(axes, "x")
            axes.xaxis.set_minor_locator(NullLocator())
        for x, row in zip(values, found.variants, strict=True):
            draw_runs(axes, row, x, PALETTE[0], size=4)
            if row.median is not None:
                axes.plot([x], [row.median], "_", ms=9, mew=2, color=PALETTE[1], zorder=4)
            if row is best and row.median is not None:
                axes.plot([x], [row.median], "o", ms=15, mfc="none", mec=PALETTE[0], mew=1.2)
        if found.cut is not None:
            axes.axhline(found.cut, color=SOFT, lw=0.8, ls="--", zorder=0)
        axes.set_xlabel(short[key])
    figure.suptitle(found.words, x=0.02, ha="left", fontsize=9)
    return figure
