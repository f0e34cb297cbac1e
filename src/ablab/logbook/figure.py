"""The decorator and the registry of figures of a run.

A figure is a decorated function in a file of its own in ``ablab/logbook/figures``; no list needs
editing. A user's own figure is named by its import path.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from matplotlib.figure import Figure

from ablab.config import Variants
from ablab.logbook.drawing_cache import cached_drawing
from ablab.logbook.svg import figure_style, svg

FIGURES = Variants("figure", "ablab.logbook.figures")

Shows = Literal["statistic", "capture", "run"]


@dataclass(frozen=True)
class FigureKind:
    """A registered figure.

    Attributes:
        name: Its name, or its import path.
        shows: The kind of data that it draws; see :func:`figure`.
        about: A short description.
        make: The function that draws it.
    """

    name: str
    shows: Shows
    about: str
    make: Callable[..., Figure | str]

    def svg(self, *data: Any) -> str:
        """Draws data as an SVG document."""
        with figure_style():
            made = self.make(*data)
            return made if isinstance(made, str) else svg(made)


def figure(
    name: str, shows: Shows, about: str
) -> Callable[[Callable[..., Figure | str]], FigureKind]:
    """A decorator that registers a function as a figure.

    The function returns a matplotlib figure, of which the caller sets the style and writes the
    SVG, or an SVG document. Its arguments depend on what it draws:

    - ``statistic``: a frame with the column ``step`` and the columns of the statistic, and the
      :class:`~ablab.logbook.layers.LayerGroup` that lists these columns;
    - ``capture``: the captured tensor by step, as NumPy arrays, and its name;
    - ``run``: the :class:`~ablab.store.stored_run.StoredRun`.

    Args:
        name: The figure's name, which is also the name of its file. A user's own figure is named
            by its import path instead.
        shows: The kind of data that it draws.
        about: A short description.
    """

    def decorate(function: Callable[..., Figure | str]) -> FigureKind:
        kind = FigureKind(name, shows, about, function)
        if FIGURES.ships(function):
            FIGURES.register(name)(kind)
        return kind

    return decorate


def find_figure(name: str) -> FigureKind:
    """The figure with a name or an import path.

    Raises:
        InputError: There is no such figure.
    """
    decorator = f"{__name__}.{figure.__name__}"
    found = FIGURES.find_made(name, FigureKind, "--as", decorator)
    return replace(found, name=name)


@cached_drawing
def drawing(name: str, *data: Any) -> str:
    """Data drawn as the figure with this name, as SVG; drawn once for equal data."""
    return find_figure(name).svg(*data)


def all_figures() -> list[FigureKind]:
    """The shipped figures, by name."""
    return [find_figure(name) for name in FIGURES.names()]
