"""Reads a curve: what is in it, in linear and in logarithmic time."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from ablab.read.curves import spikes
from ablab.read.curves.aside import LEAST_SPIKE
from ablab.read.curves.ends import end_value, falls_at_end, slow_fall
from ablab.read.curves.events import Events
from ablab.read.curves.noise import estimate_noise
from ablab.read.curves.passes import merge, read_pass
from ablab.read.curves.reading import Reading, SlowFall, Spike
from ablab.read.curves.scale import Scale, direction_of, scale_of
from ablab.read.curves.view import View, make_logarithmic_view, make_view
from ablab.tasks.config import Direction

_LARGEST = 700.0  # logarithm of the largest ratio that is told, 1e304
_FEW = 8  # minimum number of values to find anything


def read_curve(
    steps: ArrayLike,
    values: ArrayLike,
    column: str = "train_loss",
    levels: Mapping[str, float] | None = None,
    direction: Direction | None = None,
) -> Reading:
    """Reads a curve. The method is described in ``docs/reading.md``.

    A curve without negative values is read on a logarithmic scale, any other on a linear scale in
    units of half of its range. If higher values are better, the scale is linear, too, and
    reversed.

    Args:
        steps: The steps at which the curve has values, ascending, (n,).
        values: The values, (n,); values that are not finite are ignored.
        column: The name of the column.
        levels: Natural levels of a loss, by name; only these get names.
        direction: Which values are better. Without it, ``higher`` for the accuracies of the
            built-in tasks, else ``lower``.

    Raises:
        ValueError: No value is finite, or the shapes of steps and values do not match.
    """
    x, raw = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.shape != raw.shape or x.ndim != 1:
        raise ValueError(f"steps {x.shape} and values {raw.shape} do not form a curve")
    known = np.isfinite(raw)
    if not known.any():
        raise ValueError(f"{column} has no finite value")
    after = x[int(np.flatnonzero(known)[-1]) + 1 :]
    not_finite = int(after[0]) if len(after) else None
    x, raw = x[known], raw[known]
    better = direction or direction_of(column)
    scale = scale_of(raw, better)
    lowest = int(np.argmax(raw) if better == "higher" else np.argmin(raw))
    basic = Reading(
        column=column,
        first=int(x[0]),
        last=int(x[-1]),
        start=float(raw[0]),
        end=float(raw[-1]),
        lowest=float(raw[lowest]),
        lowest_at=int(x[lowest]),
        noise=0.0,
        not_finite=not_finite,
        positive=scale.logarithmic,
        direction=better,
    )
    if len(raw) < _FEW:
        return basic
    read = scale.read(raw)
    noise = estimate_noise(read)
    jumps = spikes.find_jumps(x, read, noise, LEAST_SPIKE, scale.logarithmic)
    calm = spikes.without(read, jumps)
    named = (levels or {}) if better == "lower" and "loss" in column else {}
    return _assemble(
        replace(basic, likeness=spikes.likeness(read, jumps) if len(jumps) > 2 else None),
        (
            make_view(x, calm, noise, scale.whole),
            make_logarithmic_view(x, calm, noise, scale.whole),
        ),
        jumps,
        scale,
        named,
    )


def _assemble(
    basic: Reading,
    views: tuple[View, View],
    jumps: list[spikes.Jump],
    scale: Scale,
    levels: Mapping[str, float],
) -> Reading:
    view = views[0]
    found = merge(*(read_pass(each, jumps) for each in views))
    falling = falls_at_end(view)
    events = Events(views, found, scale, levels, falling)
    floor, plateaus = events.floor, events.plateaus
    lowest = int(np.argmin(view.bins.mean))
    return replace(
        basic,
        end=scale.value(end_value(view)),
        lowest=scale.value(float(view.bins.mean[lowest])),
        lowest_at=int(view.bins.step[lowest]),
        noise=view.noise.usual * (1.0 if scale.logarithmic else scale.unit),
        plateaus=tuple(plateaus),
        descents=tuple(events.descents),
        slowdowns=tuple(events.slowdowns),
        tails=tuple(events.tails),
        steepenings=tuple(events.steepenings),
        growbacks=tuple(events.growbacks),
        rises=tuple(events.rises),
        peaks=tuple(events.peaks),
        transitions=tuple(events.transitions),
        spikes=tuple(_spike(view, each, scale) for each in jumps),
        period=spikes.period(view.steps, jumps),
        floor=floor,
        finished=not falling,
        falls_slowly=_slow_fall(view, scale) if falling else None,
    )


def _slow_fall(view: View, scale: Scale) -> SlowFall | None:
    fall = slow_fall(view)
    if fall is None:
        return None
    by = float(-np.expm1(-fall)) if scale.logarithmic else fall * scale.unit
    return SlowFall(round(0.5 * view.span), by)


def _spike(view: View, jump: spikes.Jump, scale: Scale) -> Spike:
    ratio = float(np.exp(min(jump.height, _LARGEST)))
    height = ratio if scale.logarithmic else jump.height * scale.unit
    step = int(view.steps[jump.onset])
    end = min(jump.onset + jump.width, len(view.steps) - 1)
    width = max(1, int(view.steps[end] - view.steps[jump.onset]))
    return Spike(step, height, width, spikes.confidence(jump, len(view.steps)))
