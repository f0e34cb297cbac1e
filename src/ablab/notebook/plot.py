"""A figure for notebooks, which can be saved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from ablab.config import InputError, Problem, nearest
from ablab.config.html import Markup, block
from ablab.config.shown import Displayed, Shown
from ablab.logbook.finding_panels import MapCells
from ablab.logbook.hover import Strip, with_cells, with_strips
from ablab.logbook.svg import figure_style, svg, themed

_FORMATS = (".svg", ".png", ".pdf", ".html")


@dataclass(frozen=True, repr=False)
class Plot(Displayed):
    """A figure: a notebook shows it, with its values under the cursor.

    Attributes:
        figure: The matplotlib figure.
        title: What it shows, in one line.
        caption: How to read it.
        maps: Its heat maps.
        strips: The values of its curves, given the figure with its final layout.
    """

    figure: Figure
    title: str
    caption: str = ""
    maps: Sequence[MapCells] = ()
    strips: Callable[[], list[Strip]] = list

    def shown(self) -> Shown:
        """What the figure shows."""
        return Shown(self.title, ['plot.save("figure.svg") writes it; a notebook shows it'])

    @property
    def svg(self) -> str:
        """The figure as an SVG document with plain colours."""
        with figure_style():
            return svg(self.figure)

    @property
    def markup(self) -> Markup:
        """The figure as a part of HTML, in the colours around it."""
        drawing = self.svg  # first, since it settles the layout
        drawing = with_strips(with_cells(drawing, self.maps), self.strips())
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        return Markup(f"<figure>{themed(drawing)}{caption}</figure>")

    def _repr_html_(self) -> str:
        return block(self.markup)

    def save(self, path: str | Path) -> Path:
        """Writes the figure.

        Args:
            path: A file whose name ends in ``.svg``, ``.png``, ``.pdf`` or ``.html``. Only HTML
                says values under the cursor.

        Returns:
            The path.

        Raises:
            InputError: The name has another ending, or the file cannot be written.
        """
        path = Path(path)
        if path.suffix not in _FORMATS:
            raise InputError(
                Problem(
                    "a figure cannot be saved in this format",
                    given=str(path),
                    expected="a name that ends in " + ", ".join(_FORMATS),
                    suggestion=nearest(path.suffix, _FORMATS),
                )
            )
        try:
            if path.suffix == ".html":
                page = f'<!doctype html><meta charset="utf-8"><title>{escape(self.title)}</title>'
                path.write_text(f"{page}{self._repr_html_()}", encoding="utf-8")
            elif path.suffix == ".svg":
                path.write_text(self.svg, encoding="utf-8")
            else:
                with figure_style():
                    self.figure.savefig(path, dpi=150)
        except OSError as error:
            raise InputError(
                Problem(f"the figure cannot be written ({error.strerror})", given=str(path))
            ) from error
        return path
