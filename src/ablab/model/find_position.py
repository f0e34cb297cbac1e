"""The classes of position encodings, by name or import path."""

import inspect

from ablab.config.own_parts import part_error
from ablab.model.config import POSITIONS
from ablab.model.parts import AttentionPosition, InputPosition

KEY = "model.position"
ADDED = (
    "class MyPosition(ablab.model.parts.InputPosition):",
    "    def __init__(self, length, d_model):",
    "        super().__init__(length, d_model)",
    "",
    "    def forward(self, first, length, device):",
    "        ...  # (T, D), added to the embeddings",
)
_IN_ATTENTION = (
    "class MyPosition(ablab.model.parts.AttentionPosition):",
    "    def score_bias(self, queries, keys):",
    "        ...  # (H, Q, S), added to the scores",
)


def find_position(name: str) -> type[InputPosition] | type[AttentionPosition]:
    """The class of a position encoding.

    Raises:
        InputError: It is neither added to the embeddings nor in attention.
    """
    found = POSITIONS.find(name)
    if inspect.isclass(found) and issubclass(found, InputPosition | AttentionPosition):
        return found
    what = "is neither an InputPosition nor an AttentionPosition"
    raise part_error(KEY, name, what, *ADDED, "", *_IN_ATTENTION)
