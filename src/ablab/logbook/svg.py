"""The style of static figures, and their SVG."""

import io
from contextlib import AbstractContextManager

import matplotlib as mpl
from matplotlib.figure import Figure

# Okabe and Ito's palette, whose colours can be distinguished with any colour vision deficiency.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def figure_style() -> AbstractContextManager[None]:
    """A context for drawing and saving figures; the same data give the same bytes."""
    style: AbstractContextManager[None] = mpl.rc_context(
        {"svg.fonttype": "none", "font.size": 9, "svg.hashsalt": "ablab"}
    )
    return style


def svg(figure: Figure) -> str:
    """A figure as an SVG document; rasterized parts have 150 dots per inch."""
    file = io.StringIO()
    figure.savefig(file, format="svg", dpi=150, metadata={"Date": None, "Creator": "ablab"})
    text = file.getvalue()
    return text[text.index("<svg") :]
