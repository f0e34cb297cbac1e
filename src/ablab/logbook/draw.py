"""Draws a statistic or a captured tensor of one run, by name."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ablab.config import InputError, Problem, nearest
from ablab.logbook.statistic_figures import (
    histograms,
    layer_curves,
    layer_groups,
    layer_heat,
    pattern_grid,
)
from ablab.store.stored_run import StoredRun
from ablab.watching.names import CAPTURED, plain

Drawing = Literal["curves", "heat", "patterns", "histogram"]


def draw(run: StoredRun, name: str, kind: str) -> str:
    """A figure of a statistic or a captured tensor of a run, as an SVG document.

    Args:
        run: The run.
        name: The name of a statistic, with ``blocks.*`` for all layers, or of a captured tensor.
        kind: ``curves`` or ``heat`` for a statistic; ``patterns`` or ``histogram`` for a capture.

    Raises:
        InputError: The kind or the name is unknown, or the name matches several statistics.
    """
    if kind not in get_args(Drawing):
        raise InputError(
            Problem(
                f"there is no kind of figure called {kind!r}",
                "--as",
                given=kind,
                expected="one of " + ", ".join(get_args(Drawing)),
                suggestion=nearest(kind, get_args(Drawing)),
            )
        )
    if kind in ("curves", "heat"):
        frame = run.metrics([name])
        groups = layer_groups([column for column in frame.columns if column not in ("run", "step")])
        if len(groups) > 1:
            names = [group.name for group in groups]
            raise InputError(
                Problem(
                    f"{name!r} matches {len(groups)} statistics, but a figure shows only one",
                    given=name,
                    expected="one of " + ", ".join(names[:8]) + (", …" if names[8:] else ""),
                )
            )
        return (layer_curves if kind == "curves" else layer_heat)(frame, groups[0])
    found = captured(run, name)
    return pattern_grid(found, name) if kind == "patterns" else histograms(found, name)


def captured(run: StoredRun, name: str) -> dict[int, NDArray[np.float64]]:
    """A captured tensor, by step.

    Raises:
        InputError: No tensor of this name was captured.
    """
    full = plain(name if name.partition("/")[0] in CAPTURED else f"activation/{name}")
    result: dict[int, NDArray[np.float64]] = {}
    every: dict[str, None] = {}
    for step in run.captures:
        tensors = run.captured(step)
        every |= dict.fromkeys(tensors)
        for key in _matching(full, list(tensors)):
            result[step] = tensors[key].double().numpy()
    if not result:
        raise InputError(
            Problem(
                f"run {run.id} has no captured tensor {name!r}",
                given=name,
                expected="one of " + ", ".join(every)
                if every
                else "a run with captures: watch.captures, or ablab replay --capture",
                suggestion=nearest(full, every),
            )
        )
    return result


def _matching(pattern: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if fnmatchcase(name, pattern)][:1]
