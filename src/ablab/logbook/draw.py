"""Figures of one run."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from ablab.config import InputError, Problem, nearest
from ablab.experiments.measures import check_column
from ablab.logbook.figure import find_figure
from ablab.logbook.layers import layer_groups
from ablab.model.site_names import plain_site
from ablab.store.stored_run import StoredRun
from ablab.watching.names import CAPTURED


def draw(run: StoredRun, name: str | None, kind: str) -> str:
    """A figure of a run, as an SVG document.

    Args:
        run: The run.
        name: The name of a statistic, with ``blocks.*`` for all layers, or of a captured tensor;
            None for figures of the run itself.
        kind: The figure's name or import path; see :mod:`ablab.logbook.figure`.

    Raises:
        InputError: There is no such figure, it needs a name, or the run has nothing of that name.
    """
    found = find_figure(kind)
    if found.shows == "run":
        return found.svg(run)
    if name is None:
        raise InputError(
            Problem(
                f"the figure {kind!r} needs the name of a {found.shows}",
                expected=f"ablab figure RUN NAME --as {kind}; ablab figure RUN lists the names",
            )
        )
    if found.shows == "capture":
        return found.svg(captured(run, name), name)
    check_column(name)
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
    return found.svg(frame, groups[0])


@dataclass(frozen=True)
class Drawable:
    """The names that can be drawn for a run.

    Attributes:
        statistics: Statistics, with ``blocks.*`` for those of several layers.
        captures: Captured tensors.
    """

    statistics: list[str]
    captures: list[str]


def drawable(run: StoredRun) -> Drawable:
    """The names that :func:`draw` accepts for a run."""
    frame = run.metrics()
    logged = [
        name
        for name in frame.columns
        if name not in ("run", "step") and frame[name].null_count() < frame.height
    ]
    tensors = dict.fromkeys(name for step in run.captures for name in run.captured(step))
    return Drawable([group.name for group in layer_groups(logged)], list(tensors))


def captured(run: StoredRun, name: str) -> dict[int, NDArray[np.float64]]:
    """A captured tensor, by step.

    Raises:
        InputError: No tensor of this name was captured.
    """
    full = plain_site(name if name.partition("/")[0] in CAPTURED else f"activation/{name}")
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
