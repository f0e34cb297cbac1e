"""Readings as text, in the style of a logbook."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ablab.read.curves.numbers import number
from ablab.read.curves.phrases import events, goes_to_end, level_text, levels_of, stays
from ablab.read.curves.reading import (
    Floor,
    Growback,
    Plateau,
    Reading,
    Rise,
    SlowFall,
    Transition,
)
from ablab.read.medians import median_of, spread_words

_CHANGES = 0.2  # minimum change of a curve as a whole: relative, or absolute if it is not positive
_LONG = 0.1  # minimum length of a plateau that fewer than half of several curves have
_AT = 0.02  # relative difference up to which a curve begins at a level
_NOISY = 3.0  # or so many standard deviations of a single value
_NEAR = 0.03  # relative difference up to which levels of several runs are the same


def sentence(reading: Reading) -> str:
    """A reading in one line: ``log(10) until 1,200, then …; floor 8e-9 from 1,600``."""
    parts = [*events(reading)]
    if len(reading.spikes) == 1:
        spike = reading.spikes[0]
        parts.append(
            (spike.step, f"spike at {spike.step:,}, height {_times(spike.height, reading)}")
        )
    text = "; ".join(part for _, part in sorted(parts, key=lambda each: each[0]))
    rest = []
    if len(reading.spikes) > 1:
        rest.append(_several_spikes(reading))
    rest.append(_ending(reading))
    return "; ".join(part for part in [text, *rest] if part)


def group_sentence(readings: Sequence[Reading]) -> str:
    """The readings of several seeds in one line: medians, each with its range.

    What only some of the curves have is given with their number. Final values far from those of the
    other curves are given apart from them.
    """
    if len(readings) == 1:
        return sentence(readings[0])
    parts = [*_group_events(readings), *_group_ends(readings)]
    return "; ".join(parts) or f"ends at {spread([reading.end for reading in readings])}"


def _group_events(readings: Sequence[Reading]) -> list[str]:
    count, lower = len(readings), readings[0].direction == "lower"
    parts = []
    broken = [each.not_finite for each in readings if each.not_finite is not None]
    if broken:
        parts.append(f"not finite from {spread(broken)} on{of_seeds(len(broken), count)}")
    for group in common_plateaus(readings, least=1):
        ends = plateau_ends(readings, group)
        if ends.runs < count / 2 and not any(_is_long(readings[at], each) for at, each in group):
            continue
        until = ends.words("after", "not left")
        parts.append(f"{level_text(group[0][1])} until {until}{of_seeds(ends.runs, count)}")
    jumps = [reading.transitions[0] for reading in readings if reading.transitions]
    if jumps:
        parts.append(_transitions(jumps, readings))
    risen = [reading.rises[0] for reading in readings if reading.rises]
    if risen:
        verb = "rises" if lower else "drops"
        parts.append(
            f"{verb} to {spread([each.high for each in risen])}{of_seeds(len(risen), count)}"
        )
    for name, word in (("growbacks", "growback"), ("spikes", "spike")):
        numbers = [len(getattr(reading, name)) for reading in readings]
        having = [each for each in numbers if each]
        if having:
            noun = word if set(having) == {1} else f"{word}s"
            # With different numbers, runs that have none count, too.
            shown = spread(having if len(set(having)) == 1 else numbers)
            parts.append(f"{shown} {noun}{of_seeds(len(having), count)}")
    return parts


def _transitions(jumps: Sequence[Transition], readings: Sequence[Reading]) -> str:
    """When the curves that jump do; those that end nearer to the level before have not yet.

    Curves that come to the level after it by themselves, without a jump, are neither.
    """
    low = statistics.median(each.low for each in jumps)
    high = statistics.median(each.high for each in jumps)
    others = [each for each in readings if not each.transitions]
    later = [each.last for each in others if abs(each.end - low) < abs(each.end - high)]
    steps = [each.step for each in jumps]
    some = f"{len(jumps)} of {len(readings)} seeds"
    if later and median_of(steps, len(later)) is None:
        return f"transition at {spread(steps)} ({some}, not by {min(later):,} in {len(later)})"
    when = spread(steps, len(later), min(later, default=None))
    return f"transition at {when}{of_seeds(len(jumps), len(readings))}"


@dataclass(frozen=True)
class PlateauEnds:
    """When the runs that come to a plateau leave it.

    Attributes:
        left: The step at which each run leaves it that does.
        ends: The last step of each run that is there to its end.
    """

    left: list[int]
    ends: list[int]

    @property
    def never(self) -> int:
        """How many are there to their end."""
        return len(self.ends)

    @property
    def last(self) -> int | None:
        """The last step up to which all of these were seen; None if all leave it."""
        return min(self.ends, default=None)

    @property
    def runs(self) -> int:
        """How many runs come to the plateau."""
        return len(self.left) + self.never

    @property
    def median(self) -> float | None:
        """The median step; None if it is not reached."""
        return median_of(self.left, self.never)

    def words(self, beyond: str, never: str) -> str:
        """The median and the range; see :func:`ablab.read.medians.spread_words`."""
        return spread(self.left, self.never, self.last, (beyond, never))

    @property
    def open_words(self) -> str:
        """That the median run does not leave it, and when the earliest does; empty if it does."""
        if self.median is not None or self.last is None:
            return ""
        earliest = f", earliest left at {min(self.left):,}" if self.left else ""
        return f"median not left by step {self.last:,}{earliest}"

    @property
    def cut_off_words(self) -> str:
        """When runs leave it, and to where others were seen, if that is before some leave it.

        There is no common median then. Empty if all were seen for as long as others took.
        """
        if self.last is None or not self.left or self.last >= max(self.left):
            return ""
        seen = f"{self.last:,}"
        seen += f" to {max(self.ends):,}" if max(self.ends) > self.last else ""
        left = "leaves it at step" if len(self.left) == 1 else "leave it at step"
        of_these = "" if len(self.left) == 1 else " (median and range)"
        ended = "it ended" if self.never == 1 else "they ended"
        return (
            f"{len(self.left)} {left} {spread(self.left)}{of_these}; {self.never} had not when "
            f"{ended}, at step {seen}"
        )


def plateau_ends(readings: Sequence[Reading], group: Sequence[tuple[int, Plateau]]) -> PlateauEnds:
    """When the runs of a common plateau leave it; those that end there do not.

    Args:
        readings: The readings.
        group: The plateau of some of them, as :func:`common_plateaus` gives it.
    """
    level = statistics.median(plateau.level for _, plateau in group)
    near = _nearness(readings)
    having = {place for place, _ in group}
    never = [
        reading.last
        for place, reading in enumerate(readings)
        if place not in having and reading.floor is not None and near(reading.floor.level, level)
    ]
    left = [plateau.last for _, plateau in group]
    return PlateauEnds(left, never)


def _nearness(readings: Sequence[Reading]) -> Callable[[float, float], bool]:
    """Whether a level is the same as another: within 3%, or of the range of all curves.

    The latter if a curve was not read on a logarithmic scale, so that its levels may be zero.
    """
    if all(each.positive for each in readings):
        return lambda one, other: abs(one / other - 1) <= _NEAR
    values = [each.start for each in readings] + [each.end for each in readings]
    values += [plateau.level for each in readings for plateau in each.plateaus]
    most = _NEAR * (max(values, default=0.0) - min(values, default=0.0))
    return lambda one, other: abs(one - other) <= most


def _is_long(reading: Reading, plateau: Plateau) -> bool:
    """Whether a plateau takes so much of a curve that it matters in one curve of a group, too."""
    return plateau.last - plateau.first >= _LONG * (reading.last - reading.first)


def _group_ends(readings: Sequence[Reading]) -> list[str]:
    """How the curves end, those with the most common end first."""
    count, lower = len(readings), readings[0].direction == "lower"
    finite = [each for each in readings if each.not_finite is None]
    ending = [each for each in finite if each.floor is not None]
    stay = [each.floor.level for each in ending if each.floor is not None and stays(each)]
    floors = [each.floor.level for each in ending if each.floor is not None and not stays(each)]
    falling = [each.end for each in finite if not each.finished]
    others = [each.end for each in finite if each.finished and each.floor is None]
    names = {each.floor.level: each.floor.name for each in finite if each.floor is not None}
    still = "falling" if lower else "rising"
    kinds = [
        ("floor", floors if lower else []),
        ("stays at", stay if lower else stay + floors),
        (f"still {still} at the end, at", falling),
        ("ends at", others),
    ]
    found = [
        (
            len(some),
            f"{word} {_common_name(some, names) or spread(some)}{of_seeds(len(some), count)}",
        )
        for word, values in kinds
        for some in _apart(values, all(each.positive for each in readings))
    ]
    return [text for _, text in sorted(found, key=lambda each: -each[0])]


def _common_name(values: list[float], names: dict[float, str | None]) -> str | None:
    """The name that all of some levels have; None if they have none, or several."""
    found = {names.get(each) for each in values}
    return found.pop() if len(found) == 1 else None


def _apart(values: list[float], positive: bool) -> list[list[float]]:
    """Values in two parts, if a minority is far from the others; else in one.

    The gap has to be a factor of three (a tenth, for values that are not positive), and twice as
    wide as either part.
    """
    if len(values) < 3:
        return [values] if values else []
    ordered = sorted(values)
    scale = [math.log(max(each, 1e-45)) if positive else each for each in ordered]
    gaps = [high - low for low, high in pairwise(scale)]
    cut = gaps.index(max(gaps)) + 1
    widths = (scale[cut - 1] - scale[0], scale[-1] - scale[cut])
    if gaps[cut - 1] < max(math.log(3) if positive else 0.1, 2 * max(widths)):
        return [values]
    return [ordered[:cut], ordered[cut:]]


def common_plateaus(
    readings: Sequence[Reading], least: int | None = None
) -> list[list[tuple[int, Plateau]]]:
    """Groups plateaus at the same level over several readings.

    Args:
        readings: The readings.
        least: The minimum number of readings that have the plateau; half of them by default.

    Returns:
        A list for each common plateau, of (index of the reading, plateau).
    """
    needed = len(readings) / 2 if least is None else least
    near = _nearness(readings)
    groups: list[list[tuple[int, Plateau]]] = []
    for place, reading in enumerate(readings):
        for plateau in reading.plateaus:
            for group in groups:
                level = statistics.median(other.level for _, other in group)
                there = any(other == place for other, _ in group)
                if not there and near(plateau.level, level):
                    group.append((place, plateau))
                    break
            else:
                groups.append([(place, plateau)])
    common = [group for group in groups if len(group) >= needed]
    return sorted(common, key=lambda group: statistics.median(each.last for _, each in group))


def _several_spikes(reading: Reading) -> str:
    spikes = reading.spikes
    highest = max(spikes, key=lambda each: each.height)
    text = f"{len(spikes)} spikes from {spikes[0].step:,} to {spikes[-1].step:,}"
    if reading.period is not None:
        alike = reading.likeness is not None and reading.likeness > 0.9
        text += f", every {number(reading.period)} steps"
        text += ", similar in shape" if alike else ""
    return text + f", the highest {_times(highest.height, reading)} at {highest.step:,}"


def _times(height: float, reading: Reading) -> str:
    return f"×{number(height)}" if reading.positive else number(height)


def _ending(reading: Reading) -> str:
    if reading.not_finite is not None:
        return f"not finite from {reading.not_finite:,} on"
    if reading.floor is not None:
        return _at_floor(reading, reading.floor)
    whole = _whole_change(reading)
    if whole or reading.finished:
        return whole or ("" if goes_to_end(reading) else f"ends at {number(reading.end)}")
    if reading.falls_slowly is not None:
        return _slowly(reading, reading.falls_slowly)
    falling = "falling" if reading.direction == "lower" else "rising"
    return f"still {falling} at {reading.last:,} ({number(reading.end)})"


def _at_floor(reading: Reading, floor: Floor) -> str:
    level = levels_of(reading)(floor.level)
    found = (reading.plateaus, reading.descents, reading.rises, reading.growbacks)
    if floor.first <= _soon(reading) and not any(found):
        if _starts_at(reading, floor):
            return f"{level} to the end ({reading.last:,})"
        return f"at {level} from {floor.first:,} to the end ({reading.last:,})"
    risen: list[Rise | Growback] = [*reading.rises, *reading.growbacks]
    near = _CHANGES / 2 * abs(floor.level)
    up = any(abs(each.high - floor.level) <= near for each in risen)
    at_level = up or reading.direction == "higher" or stays(reading)
    word = "stays at" if at_level else "floor"
    return f"{word} {level} from {floor.first:,}"


def _starts_at(reading: Reading, floor: Floor) -> bool:
    """Whether the first value is at the level, within 2% or three standard deviations of noise."""
    size = abs(floor.level) if reading.positive else 1.0
    most = max(_AT * size, _NOISY * reading.noise * size)
    return floor.first == reading.first or abs(reading.start - floor.level) <= most


def _slowly(reading: Reading, fall: SlowFall) -> str:
    verb = "falls" if reading.direction == "lower" else "rises"
    by = f"{100 * fall.by:.2g}%" if reading.positive else f"by {number(fall.by)}"
    where = f"{by} in the last {number(fall.steps)} steps"
    return f"still {verb} slowly ({where}), at {number(reading.end)}"


def _whole_change(reading: Reading) -> str:
    """From where to where a curve goes in which nothing was found, as one of few values."""
    found = (reading.plateaus, reading.descents, reading.rises, reading.growbacks)
    apart = abs(reading.end - reading.start)
    least = _CHANGES * (abs(reading.start) if reading.positive else 1.0)
    if any(found) or apart <= least:
        return ""
    verb = "rises" if reading.end > reading.start else "falls"
    return f"{verb} from {number(reading.start)} to {number(reading.end)} at {reading.last:,}"


def _soon(reading: Reading) -> int:
    """The step before which a level counts as the initial one."""
    return reading.first + (reading.last - reading.first) // 6


def spread(
    values: Sequence[float],
    later: int = 0,
    bound: float | None = None,
    words: tuple[str, str] = ("not before", "not reached"),
) -> str:
    """The median and the range of several runs; see :func:`ablab.read.medians.spread_words`."""
    whole = all(value == int(value) for value in values) and max(values, default=1) >= 1

    def show(value: float) -> str:
        return f"{value:,.0f}" if whole and value == int(value) else number(value)

    return spread_words(values, show, later, bound, words)


def of_seeds(some: int, every: int) -> str:
    """How many of the seeds something is said of; empty if of all."""
    return "" if some == every else f" ({some} of {every} seeds)"
