"""The style of static figures, and their SVG."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from ablab.logbook.colours import partner_on_dark
from ablab.logbook.labels import font_families

# The colours of the page, by the names of its CSS variables.
INK, SOFT, LINE, GRID, PAPER = "#1d2025", "#5f6671", "#d9dde3", "#e9ebef", "#ffffff"
_VARIABLES = {INK: "--ink", SOFT: "--soft", LINE: "--line", GRID: "--grid", PAPER: "--paper"}
FONT = "system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ablab",
    "text.parse_math": False,  # labels are the user's words, in which "$" is a dollar
    "font.size": 9,
    "text.color": INK,
    "axes.titlecolor": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": LINE,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "path.simplify_threshold": 0.25,
}


@contextmanager
def figure_style() -> Iterator[None]:
    """A context for drawing and saving figures; the same data give the same bytes."""
    fonts = {"font.family": font_families()}
    with mpl.rc_context(_STYLE | fonts), warnings.catch_warnings():
        # Nobody can act on these: a label is too long, or no font here has a character.
        warnings.filterwarnings("ignore", message=".*layout not applied")
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def plain_axes(axes: Axes, along: str = "both") -> None:
    """A thin grid below the data, and no frame: the look of the page's figure.

    Args:
        axes: The axes.
        along: The axis whose grid lines are drawn: ``x``, ``y`` or ``both``.
    """
    axes.set_axisbelow(True)
    axes.grid(True, axis=along)  # type: ignore[arg-type]
    axes.spines[["top", "right"]].set_visible(False)


class _PlainNumbers(LogFormatter):
    """The labels of a logarithmic axis as 0.01 rather than as powers of ten."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def logarithmic(axes: Axes, which: Literal["x", "y"] = "y") -> None:
    """Makes an axis logarithmic, with plain numbers."""
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(_PlainNumbers())
    axis.set_minor_formatter(_PlainNumbers(labelOnlyBase=False, minor_thresholds=(1.2, 0.5)))


def svg(figure: Figure) -> str:
    """A figure as an SVG document; rasterized parts have 150 dots per inch."""
    file = io.StringIO()
    layout = figure.get_layout_engine()
    if layout is not None:  # savefig would draw the whole figure twice
        layout.execute(figure)
        figure.set_layout_engine(None)
    figure.savefig(file, format="svg", dpi=150, metadata={"Date": None, "Creator": "ablab"})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"'DejaVu Sans'[^;\"]*", FONT, text)
    # Hundredths of a point are finer than any screen, and half as long as what stands there.
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text)


def themed(text: str) -> str:
    """A figure as a part of the page, whose colours follow the page's, light or dark.

    Text, axes and paper get the page's own colours, and other known colours their partner on a
    dark page. Browsers that do not know ``light-dark`` use the colour on white.

    Args:
        text: What :func:`svg` gives.
    """
    return re.sub(r'style="[^"]*"', lambda style: _DECLARATION.sub(_themed, style[0]), text)


_DECLARATION = re.compile(r"\b(fill|stroke): (#[0-9a-f]{6})\b")


def _themed(found: re.Match[str]) -> str:
    name, colour = found.groups()
    if colour in _VARIABLES:
        return f"{name}: var({_VARIABLES[colour]}, {colour})"
    dark = partner_on_dark(colour)
    if dark is None:
        return found[0]
    return f"{name}: {colour}; {name}: light-dark({colour}, {dark})"
