"""What two passes found as the parts of a reading: steps, values, names, confidences."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np

from ablab.read.curves.arrivals import arrival, is_top, next_stop
from ablab.read.curves.ends import end_value
from ablab.read.curves.falls import Bend, form_of_fall
from ablab.read.curves.flats import Flat
from ablab.read.curves.floors import first_at_level, floor_start
from ablab.read.curves.levels import name_level
from ablab.read.curves.passes import Found, Level
from ablab.read.curves.reading import (
    Descent,
    Floor,
    Growback,
    Peak,
    Plateau,
    Rise,
    Slowdown,
    Steepening,
    Tail,
    Transition,
)
from ablab.read.curves.rises import Rise as RiseOfBins
from ablab.read.curves.scale import Scale
from ablab.read.curves.tails import split
from ablab.read.curves.transitions import SUDDEN_WIDTH, find_shoulder, find_transition
from ablab.read.curves.view import View

_DROP = 0.2  # minimum fall, on the reading scale
_RECENT = 3.0  # before this multiple of a plateau's last step, a steeper fall is its descent
_ARRIVES = 2.0  # a fall that slows down within this factor of the floor's first step arrives there
_FIRST_VALUES = 3  # number of values whose median is the value at the start
_START = 0.2  # minimum fall from the start, on the reading scale


class Events:
    """The events of a curve.

    Args:
        views: The curve in linear and in logarithmic time.
        found: What both passes found.
        scale: The scale on which the curve is read.
        levels: Natural levels, by name.
        falling: Whether the curve still falls at its end.
    """

    def __init__(
        self,
        views: tuple[View, View],
        found: Found,
        scale: Scale,
        levels: Mapping[str, float],
        falling: bool,
    ) -> None:
        self._views, self._view, self._scale = views, views[0], scale
        self._found = replace(found, levels=[e for e in found.levels if not is_top(e, found.rises)])
        self._names, self._falling = levels, falling

    @cached_property
    def plateaus(self) -> list[Plateau]:
        """The levels that the curve leaves."""
        return [self._plateau(each) for each in self._found.levels]

    def _plateau(self, found: Level) -> Plateau:
        level = self._level(found.first, found.last)
        sure = certainty(found.drop / _DROP, found.share / 0.03)
        first, last = (int(self._view.steps[each]) for each in (found.first, found.last))
        return Plateau(level, first, last, self._name(level, found.first, found.last), sure)

    @property
    def descents(self) -> list[Descent]:
        """The falls from plateaus, and the one from the start; each up to its slow tail."""
        return [descent for descent, _ in self._falls]

    @property
    def tails(self) -> list[Tail]:
        """The long and slow falls after fast ones."""
        return [tail for _, tail in self._falls if tail is not None]

    @cached_property
    def _falls(self) -> list[tuple[Descent, Tail | None]]:
        if not self._scale.logarithmic:
            return [(descent, None) for descent in self._whole_falls]
        return [self._split(descent) for descent in self._whole_falls]

    def _split(self, descent: Descent) -> tuple[Descent, Tail | None]:
        bends = [each.step for each in self.steepenings if descent.start <= each.step]
        begin = max([descent.start, *(bend for bend in bends if bend < descent.end)])
        floor = self.floor
        settles = floor is not None and descent.end >= floor.first
        fast, tail = split(self._views, self._scale, descent, begin, settles)
        if tail is None:
            return descent, None
        first = int(np.searchsorted(self._view.steps, descent.start))
        form, rate = self._form(self._view, first, int(np.searchsorted(self._view.steps, fast.end)))
        return replace(fast, form=form, rate=rate), tail

    @cached_property
    def _whole_falls(self) -> list[Descent]:
        falls = [
            self._descent(level.view, level.last, plateau)
            for level, plateau in zip(self._found.levels, self.plateaus, strict=True)
            if level.downwards
        ]
        falls += [self._from_peak(view, rise.top) for view, rise in self._peaks]
        falls = sorted((each for each in falls if each.end > each.start), key=lambda e: e.start)
        started = self._started
        return falls if started is None else [started, *falls]

    def _descent(self, view: View, start: int, plateau: Plateau) -> Descent:
        bin_of = view.bin_of(start)
        last = next_stop(view, start, self._stops)
        arrived, low = self._arrival(view, bin_of, last)
        end = int(view.bins.last[arrived])
        form, rate = self._form(view, start, end)
        at_end = self._scale.value(low)
        floor = self.floor
        if floor is not None and view.steps[start] < floor.first <= view.steps[end]:
            arrived = int(np.searchsorted(view.steps, floor.first))
            end, at_end = (arrived, floor.level) if arrived > start + 2 else (end, at_end)
        return Descent(
            int(view.steps[start]), int(view.steps[end]), plateau.level, plateau.name, at_end,
            form, rate, plateau.confidence,
        )  # fmt: skip

    def _arrival(self, view: View, first: int, last: int) -> tuple[int, float]:
        """Where a fall between two bins arrives; at the end, if the curve still falls there."""
        if self._falling and last == len(view.bins.mean) - 1:
            return last, end_value(self._view)
        return arrival(view, first, last)

    def _form(self, view: View, start: int, end: int) -> tuple[str, float | None]:
        """The form of a fall, up to where it becomes steeper."""
        bends = [int(v.bins.first[bend.bin]) for v, bend in self._found.steepenings]
        return form_of_fall(view, start, min([end, *(each for each in bends if each > start + 2)]))

    def _from_peak(self, view: View, top: int) -> Descent:
        start = int(view.bins.last[top])
        arrived, low = self._arrival(view, top, next_stop(view, start, self._stops))
        end = int(view.bins.last[arrived])
        form, rate = self._form(view, start, end)
        high = float(view.bins.mean[top])
        value = self._scale.value
        return Descent(
            int(view.steps[start]), int(view.steps[end]), value(high), None, value(low), form,
            rate, certainty((high - low) / _DROP),
        )  # fmt: skip

    @cached_property
    def _stops(self) -> list[int]:
        """Where a fall ends: the first values of plateaus, rises, slowdowns and of the floor.

        A flat stretch that is neither a plateau nor the floor is a part of the fall.
        """
        stops = [level.first for level in self._found.levels]
        stops += [int(view.bins.first[rise.first]) for view, rise in self._found.rises]
        stops += [int(view.bins.first[bend.bin]) for view, bend in self._found.slowdowns]
        stops += self._found.leaps
        if self.floor is not None:
            stops.append(int(np.searchsorted(self._view.steps, self.floor.first)))
        return sorted(stops)

    @cached_property
    def _started(self) -> Descent | None:
        """The fall from the first step, unless a plateau or a rise starts there."""
        view, steps = self._view, self._view.steps
        soon = min(steps[0] + 0.02 * (steps[-1] - steps[0]), 2 * steps[0] + 5)
        if self.rises or any(plateau.first <= soon for plateau in self.plateaus):
            return None
        last = next_stop(view, 0, self._stops)
        known = view.values[np.isfinite(view.values)][:_FIRST_VALUES]
        top = float(np.median(known))
        arrived, low = self._arrival(view, 0, last)
        fall = top - low
        error = 1.25 * view.scatter(0, 0) / np.sqrt(len(known))
        if fall < max(_START, 5 * float(np.hypot(error, view.bins.deviation[arrived]))):
            return None
        end = int(view.bins.last[arrived])
        form, rate = self._form(view, 0, end)
        value = self._scale.value
        return Descent(
            int(steps[0]), int(steps[end]), value(top), None, value(top - fall), form, rate,
            certainty(fall / _START),
        )  # fmt: skip

    @cached_property
    def floor(self) -> Floor | None:
        """The level at the end, if the curve is shown to stay there."""
        if self._falling:
            return None
        for view, flat in self._found.ends:
            found = self._floor(view, flat)
            if found is not None:
                return found
        return None

    def _floor(self, view: View, flat: Flat) -> Floor | None:
        rises = [int(view.bin_of(int(v.bins.last[r.last]))) for v, r in self._found.rises]
        low = max([0, *(rise for rise in rises if rise <= flat.first)])
        low = max([low, *(view.bin_of(each.last) for each in self._found.levels
                          if view.bin_of(each.last) < flat.first)])  # fmt: skip
        start = floor_start(view, low)
        if start is None:
            return None
        first, end = first_at_level(view, start), len(view.steps) - 1
        share = view.length(start, len(view.bins.mean) - 1) / view.span
        sure = certainty(share / 0.05, 0.08 / max(flat.change, 1e-6))
        # A curve approaches its floor slowly, so the level is taken from the second half.
        middle = (first + end) // 2
        level = self._level(middle, end)
        return Floor(level, int(view.steps[first]), self._name(level, middle, end), sure)

    @cached_property
    def rises(self) -> list[Rise]:
        """The rises without a fall before."""
        found = [(view, rise) for view, rise in self._found.rises if not rise.after_fall]
        return [Rise(*self._risen(view, rise)) for view, rise in found]

    @cached_property
    def growbacks(self) -> list[Growback]:
        """The rises after a fall."""
        found = [(view, rise) for view, rise in self._found.rises if rise.after_fall]
        return [Growback(*self._risen(view, rise)) for view, rise in found]

    def _risen(self, view: View, rise: RiseOfBins) -> tuple[int, int, float, float, float]:
        first, last = (int(view.bins.step[place]) for place in (rise.first, rise.last))
        sure = certainty(rise.score / 7, (rise.high - rise.low) / 0.2)
        return first, last, self._scale.value(rise.low), self._scale.value(rise.high), sure

    @cached_property
    def peaks(self) -> list[Peak]:
        """The tops of rises without a fall before, after which the curve falls."""
        found = []
        for view, rise in self._peaks:
            sure = certainty(rise.score / 7, (rise.high - rise.low) / 0.2)
            step = int(view.bins.step[rise.top])
            found.append(Peak(step, self._scale.value(rise.high), sure))
        return found

    @cached_property
    def _peaks(self) -> list[tuple[View, RiseOfBins]]:
        found = []
        for view, rise in self._found.rises:
            if rise.after_fall or not rise.falls:
                continue
            first, last = (int(view.bins.step[place]) for place in (rise.last, rise.top))
            if not any(each.first <= last and first <= each.last for each in self.plateaus):
                found.append((view, rise))  # otherwise the top is flat
        return found

    @cached_property
    def transitions(self) -> list[Transition]:
        """The changes from one level to another, if higher values are better."""
        if self._scale.sign > 0:
            return []
        settled = [int(view.steps[view.bins.first[flat.first]]) for view, flat in self._found.ends]
        settled += [plateau.first for plateau in self.plateaus]
        found: list[Transition] = []
        for level, plateau in zip(self._found.levels, self.plateaus, strict=True):
            if level.downwards:
                found += self._changes(plateau, self._arrives_at(level, plateau), settled)
        started = self._started
        if started is not None:
            start = Plateau(started.level, started.start, started.start, None, started.confidence)
            there = self.plateaus[0] if self.plateaus else self.floor
            end = there.first if there is not None else started.end
            to = there.level if there is not None else started.to
            arrived = (int(np.searchsorted(self._view.steps, end)), to)
            found = [*self._changes(start, arrived, [*settled, end], 0.0), *found]
        return found

    def _changes(
        self,
        before: Plateau,
        arrived: tuple[int, float],
        settled: list[int],
        narrow: float = SUDDEN_WIDTH,
    ) -> list[Transition]:
        """The transition from a level to where the curve arrives; two, if it has a shoulder."""
        view, scale = self._view, self._scale
        first = int(np.searchsorted(view.steps, before.last))
        pause = find_shoulder(view, (first, arrived[0]), (before.level, arrived[1]), scale)
        made = [find_transition(view, before, arrived, scale, settled, narrow)]
        if pause is not None:
            at = int(view.steps[pause[0]])
            shoulder = Plateau(pause[1], at, at, None, before.confidence)
            parts = [
                find_transition(view, before, pause, scale, [*settled, at], narrow),
                find_transition(view, shoulder, arrived, scale, settled, narrow),
            ]
            made = parts if None not in parts else made
        return [each for each in made if each is not None]

    def _arrives_at(self, level: Level, plateau: Plateau) -> tuple[int, float]:
        """Where a fall from a plateau arrives, past slowdowns: the index, and the level there."""
        after = [each for each in self.plateaus if each.first > plateau.last]
        there: Plateau | Floor | None = after[0] if after else self.floor
        if there is not None and there.first > plateau.last:
            return int(np.searchsorted(self._view.steps, there.first)), there.level
        view = level.view
        last = next_stop(view, level.last, self._found.stops)
        arrived, low = arrival(view, view.bin_of(level.last), last)
        return int(view.bins.last[arrived]), self._scale.value(low)

    @cached_property
    def slowdowns(self) -> list[Slowdown]:
        """The points at which a fall becomes less steep."""
        found = [
            Slowdown(*self._bend(view, bend))
            for view, bend in self._found.slowdowns
            if not (view.logarithmic and self._settles(float(view.bins.step[bend.bin])))
        ]
        return [
            each
            for each in found
            if not any(abs(each.step - t.step) <= 2 * t.width for t in self.transitions)
        ]

    def _settles(self, step: float) -> bool:
        """Whether the curve arrives at its floor soon after a step."""
        return self.floor is not None and step < self.floor.first <= _ARRIVES * step

    @cached_property
    def steepenings(self) -> list[Steepening]:
        """The points at which a fall becomes steeper."""
        found = [Steepening(*self._bend(*each)) for each in self._found.steepenings]
        return [
            each
            for each in found
            if not any(p.first < each.step < _RECENT * p.last for p in self.plateaus)
        ]

    def _bend(self, view: View, bend: Bend) -> tuple[int, float, float, float]:
        value = self._scale.value(float(view.bins.mean[bend.bin]))
        sure = certainty(bend.factor / 3.5, max(bend.score, 0.1))
        return int(view.steps[view.bins.first[bend.bin]]), value, bend.factor, sure

    def _name(self, level: float, first: int, last: int) -> str | None:
        if not self._names:
            return None
        noise = self._view.noise
        error = noise.here[first : last + 1].mean() * np.sqrt(noise.inflation / (last - first + 1))
        return name_level(level, self._names, float(error))

    def _level(self, first: int, last: int) -> float:
        """The mean of the values from ``first`` to ``last``, without a sixth at each end."""
        trim = (last - first) // 6
        values = self._view.values[first + trim : last + 1 - trim]
        known = values[np.isfinite(values)]
        if not len(known):  # all values are within spikes: use the interpolation
            known = self._view.filled[first : last + 1]
        if not self._scale.logarithmic:
            return self._scale.value(float(known.mean()))
        return float(np.exp(known).mean())


def certainty(*margins: float) -> float:
    """A confidence from 0 to 1, from ratios of a result to the reader's thresholds.

    The smallest ratio counts: 1 gives 0.63, 2 gives 0.86, 4 gives 0.98.
    """
    return float(np.clip(1 - np.exp(-max(min(margins), 0.0)), 0.0, 1.0))
