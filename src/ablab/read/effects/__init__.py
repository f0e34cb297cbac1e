"""Effects: differences between settings with their intervals, interactions, scaling relations."""

from ablab.read.effects.cells import Cell, cell_means
from ablab.read.effects.compare import Comparison, differences
from ablab.read.effects.interactions import Contrast, Interaction, interactions
from ablab.read.effects.results import Results, gather

__all__ = [
    "Cell",
    "Comparison",
    "Contrast",
    "Interaction",
    "Results",
    "cell_means",
    "differences",
    "gather",
    "interactions",
]
