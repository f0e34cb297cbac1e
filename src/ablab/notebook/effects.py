"""Effects with their figure."""

from dataclasses import dataclass, fields, replace

from ablab.config.html import Markup
from ablab.config.shown import Shown
from ablab.logbook.effect_tables import effect_drawings
from ablab.logbook.svg import themed
from ablab.read.effects import Effects

_FEW = 8  # comparisons; the figure of more is folded


@dataclass(frozen=True, repr=False)
class DrawnEffects(Effects):
    """Effects with their figure; else as :class:`ablab.read.effects.Effects`."""

    def drawn(self) -> Shown:
        """The same with figures of the comparisons."""
        about = self.shown()
        drawn = [
            (name.partition("-")[0], Markup(f"<figure>{themed(svg)}</figure>"))
            for name, svg in effect_drawings([self]).items()
        ]
        return with_figures(about, drawn, len(self.factorial) <= _FEW)


def drawn_effects(found: Effects) -> DrawnEffects:
    """Effects with their figure."""
    return DrawnEffects(**{each.name: getattr(found, each.name) for each in fields(Effects)})


def with_figures(about: Shown, drawn: list[tuple[str, Markup]], first_open: bool) -> Shown:
    """What is shown, with figures: the first one open or folded, the others folded."""
    if not drawn:
        return about
    folded = drawn[1:] if first_open else drawn
    below = [*about.below, *((f"figure: {name}", figure) for name, figure in folded)]
    return replace(about, figure=drawn[0][1] if first_open else Markup(), below=below)
