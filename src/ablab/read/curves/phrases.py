"""The events of a reading as phrases, each with the step at which it begins."""

import math
from collections.abc import Callable
from dataclasses import replace

from ablab.read.curves.numbers import number
from ablab.read.curves.reading import (
    Descent,
    Floor,
    Growback,
    Plateau,
    Reading,
    Rise,
    Slowdown,
    Tail,
)

_SHOWN = 4  # maximum number of growbacks that are described
_JUMP = 0.01  # a rise within this fraction of the curve is a jump
_LATE = 0.93  # a rise that goes on to this fraction of the curve goes on to its end
_LEAP = 2.0  # ... but by less than this factor above or below the end
_WHOLE = 1.2  # a law holds for a whole fall if it predicts its logarithm within this factor
_TO_FLOOR = 1.7  # the same for a fall that ends at a floor, where it slows down
_ONE_LEVEL = 0.03  # values within this relative distance of a level are at that level
_ARRIVED = 0.1  # a fall to within this relative distance of a level leads to that level
_SMALL = 1.1  # a change by less is not worth telling on the way to a plateau
_SAME_STEP = 0.1  # a fall ends where it slows down if that is within this fraction of the step,
_FEW_STEPS = 3  # or so many steps
_MOST = 0.3  # minimum part of a curve at the level at which it stays,
_SETTLES = 1.35  # and the maximum factor by which it begins above a natural one,
_SETTLED = 0.1  # or the maximum change on a linear scale, if it is not the noise
_DEVIATIONS = 3.0  # of the first value, in standard deviations
_NEAR = 0.35  # two events within this fraction of a step belong together


def events(reading: Reading) -> list[tuple[int, str]]:
    """The events of a reading in its words, but for spikes and the end."""
    return _Events(reading).parts()


def level_text(plateau: Plateau) -> str:
    """A plateau's level: its name, or its value."""
    return plateau.name or number(plateau.level)


def levels_of(reading: Reading) -> Callable[[float], str]:
    """How the values of a reading are written: those near one of its levels all as that level.

    A level is written as its name, or as the number of the longest stretch near it.
    """
    levels = [(each.last - each.first, each.level, each.name) for each in reading.plateaus]
    if reading.floor is not None:
        length = reading.last - reading.floor.first
        levels.append((length, reading.floor.level, reading.floor.name))
    levels.sort(key=lambda each: (each[2] is None, -each[0]))

    def text(value: float) -> str:
        for _, level, name in levels:
            if level > 0 and abs(value / level - 1) <= _ONE_LEVEL:
                return name or number(level)
        return number(value)

    return text


def goes_to_end(reading: Reading) -> bool:
    """Whether a rise, or a fall with all that belongs to it, is told to the end of the curve."""
    risen: list[Rise | Growback] = [*reading.growbacks, *reading.rises]
    ends = [(each.last, each.to) for each in reading.tails]
    ends += [(each.end, each.to) for each in reading.descents]
    fallen = any(_is_end(*each, reading) for each in ends)
    return fallen or any(_to_end(each, reading) for each in risen)


def stays(reading: Reading) -> bool:
    """Whether a curve stays at the first level that it reaches, so that this is no floor.

    Nothing is found before the level, or the curve only settles in it, and it is there for 30% of
    its steps or more. A loss that begins at up to 1.35 times a natural level has learnt nothing
    when it comes to it. In any other level a curve settles if it changes by less than a tenth: of
    itself (or three standard deviations of a single value), or of the range from 0 to 1 if it is a
    share such as an accuracy.
    """
    floor, others = reading.floor, (reading.plateaus, reading.rises, reading.growbacks)
    if floor is None or any(others) or reading.steepenings:
        return False
    if reading.last - floor.first < _MOST * (reading.last - reading.first):
        return False
    if reading.direction == "higher" or not reading.positive:
        ends = (floor.level, reading.start)
        is_share = reading.direction == "higher" and all(0 <= each <= 1 for each in ends)
        most = max(_SETTLED * max(map(abs, ends)), _DEVIATIONS * reading.noise)
        most = _SETTLED if is_share else most
        return not reading.descents and abs(floor.level - reading.start) <= most
    highest = max([reading.start, *(each.level for each in reading.descents)])
    most = _SETTLES if floor.name is not None else _SMALL
    return floor.level > 0 and highest <= most * floor.level


class _Events:
    """Builds the phrases of one reading. What belongs together is one phrase."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        better = reading.direction == "higher"
        self.fall, self.rise = ("rises", "drops") if better else ("falls", "rises")
        self.extremum = "low" if better else "peak"
        self.told: set[int] = set()  # ids of what is part of another phrase
        self.text = levels_of(reading)

    def parts(self) -> list[tuple[int, str]]:
        reading = self.reading
        found = []
        for descent in reading.descents:
            if not self._leaves_something(descent) and not self._settles_in(descent):
                start = f"{self.fall} from {self.text(descent.level)}"
                found.append((descent.start, start + self._goes_on(descent)))
        for rise in reading.rises:
            if not any(self._follows(rise, plateau) for plateau in reading.plateaus):
                found.append((rise.first, self._rise(rise)))
        for place, plateau in enumerate(reading.plateaus):
            if id(plateau) not in self.told:
                found.append((plateau.first, self._plateau(plateau, place == 0)))
        found += [
            (each.step, f"slows down {each.factor:.0f}-fold at {each.step:,} "
                        f"({number(each.value)})")
            for each in reading.slowdowns
            if id(each) not in self.told and not stays(reading)
        ]  # fmt: skip
        found += [
            (each.step, f"{self.fall} {each.factor:.2g} times as steeply from {each.step:,} on "
                        f"({number(each.value)})")
            for each in reading.steepenings
        ]  # fmt: skip
        found += [
            (tail.first, f"then slower from {tail.first:,} on ({number(tail.value)})")
            for descent in reading.descents
            if (tail := self._tail(descent)) is not None and self._steepens(descent)
        ]
        return found + self._growbacks()

    def _leaves_something(self, descent: Descent) -> bool:
        """Whether a descent is told with the plateau or peak that it comes from."""
        places = [plateau.last for plateau in self.reading.plateaus]
        return descent.start in places or any(self._from_peak(descent))

    def _settles_in(self, descent: Descent) -> bool:
        """Whether a descent is only a small, quick approach to the first level."""
        if stays(self.reading):
            return True
        if not self.reading.plateaus or not self.reading.positive:
            return False
        plateau = self.reading.plateaus[0]
        small = max(descent.level, plateau.level) < _SMALL * min(descent.level, plateau.level)
        return small and self._is_early(plateau) and self._arrives(descent, plateau)

    def _is_early(self, plateau: Plateau) -> bool:
        first = self.reading.first
        return plateau.first <= first + 0.15 * (plateau.last - first)

    def _from_peak(self, descent: Descent) -> list[bool]:
        return [
            peak.value == descent.level and abs(descent.start - peak.step) <= _NEAR * peak.step + 10
            for peak in self.reading.peaks
        ]

    def _plateau(self, plateau: Plateau, first: bool) -> str:
        if first and self._is_early(plateau):
            text = f"{self.text(plateau.level)} until {plateau.last:,}"
        else:
            text = self._plateau_there(plateau)
        return text + self._after(plateau)

    def _plateau_there(self, plateau: Plateau) -> str:
        return f"plateau at {self.text(plateau.level)} from {plateau.first:,} to {plateau.last:,}"

    def _after(self, plateau: Plateau) -> str:
        """What comes after a plateau."""
        for descent in self.reading.descents:
            if descent.start == plateau.last:
                return f", then {self.fall}" + self._goes_on(descent)
        for rise in self.reading.rises:
            if self._follows(rise, plateau):
                return ", then " + self._rise(rise, plateau)
        return ""

    def _follows(self, rise: Rise, plateau: Plateau) -> bool:
        near = abs(rise.first - plateau.last) <= _NEAR * plateau.last + 10
        return near and plateau.last < rise.last

    def _goes_on(self, descent: Descent) -> str:
        """The form of a descent, its tail, and where it leads."""
        jump = self._transition(descent)
        form = "" if jump else self._form(descent)
        tail = self._tail(descent)
        if tail is not None and self._steepens(descent):
            return form
        if tail is not None:
            here = f" to {self.text(tail.value)} at {tail.first:,}{form}, then slower"
            return here + self._leads(replace(descent, end=tail.last, to=tail.to), "", "")
        return self._leads(descent, form, jump)

    def _steepens(self, descent: Descent) -> bool:
        bends = [each.step for each in self.reading.steepenings]
        return any(descent.start < bend < descent.end for bend in bends)

    def _tail(self, descent: Descent) -> Tail | None:
        found = (each for each in self.reading.tails if each.first == descent.end)
        return next(found, None)

    def _leads(self, descent: Descent, form: str, jump: str) -> str:
        """Where a descent leads, unless the end of the sentence says that."""
        reading = self.reading
        for plateau in reading.plateaus:
            if id(plateau) not in self.told and self._arrives(descent, plateau):
                self.told.add(id(plateau))
                return f"{form}{jump} to a {self._plateau_there(plateau)}{self._after(plateau)}"
        if self._leads_to_floor(descent):
            return form + jump
        if _is_end(descent.end, descent.to, reading):
            if not reading.finished:
                return form + jump
            return f"{form}{jump} to {number(reading.end)} at the end ({reading.last:,})"
        at = "" if jump else f" at {descent.end:,}"
        slower = next((each for each in reading.slowdowns if self._ends_at(descent, each)), None)
        if slower is None or self._steepens(descent):
            return f" to {self.text(descent.to)}{at}{form}{jump}"
        self.told.add(id(slower))
        here = f" to {self.text(slower.value)} at {slower.step:,}{form}{jump}"
        return f"{here}, then {slower.factor:.0f} times as slowly"

    def _ends_at(self, descent: Descent, slowdown: Slowdown) -> bool:
        """Whether a descent ends where it slows down, so that the two are one event."""
        near = max(_SAME_STEP * descent.end, _FEW_STEPS)
        return id(slowdown) not in self.told and abs(slowdown.step - descent.end) <= near

    def _leads_to_floor(self, descent: Descent) -> bool:
        """Whether a descent ends at the floor, or close to it with nothing in between."""
        reading, floor = self.reading, self.reading.floor
        if floor is None:
            return False
        if descent.end >= floor.first:
            return True
        other = (*reading.slowdowns, *reading.growbacks, *reading.steepenings)
        starts = [getattr(each, "step", getattr(each, "first", 0)) for each in other]
        starts += [plateau.first for plateau in reading.plateaus]
        return self._reaches(descent, floor) and not any(
            descent.end <= start <= floor.first for start in starts
        )

    def _arrives(self, descent: Descent, plateau: Plateau) -> bool:
        """Whether a descent ends at a plateau, or close to it with nothing in between."""
        if not descent.start < plateau.first or not self._reaches(descent, plateau):
            return False
        reading = self.reading
        others: list[Plateau | Growback | Rise] = [
            *reading.plateaus,
            *reading.growbacks,
            *reading.rises,
        ]
        return not any(descent.end < each.first < plateau.first for each in others)

    def _reaches(self, descent: Descent, level: Plateau | Floor) -> bool:
        """Whether a descent ends soon before a level, in time or in value."""
        if level.first <= descent.end + _NEAR * (descent.end - descent.start) + 10:
            return True
        return level.level > 0 and abs(descent.to / level.level - 1) <= _ARRIVED

    def _transition(self, descent: Descent) -> str:
        found = [
            each for each in self.reading.transitions if descent.start <= each.step <= descent.end
        ]
        if not found:
            return ""
        if len(found) > 1:
            steps = " and ".join(f"at {each.step:,} to {number(each.high)}" for each in found)
            widths = " and ".join(f"{each.width:,}" for each in found)
            return f" (transitions {steps}, 10% to 90% in {widths} steps)"
        noun = "step" if found[0].width == 1 else "steps"
        return f" (transition at {found[0].step:,}, 10% to 90% in {found[0].width:,} {noun})"

    def _form(self, descent: Descent) -> str:
        if not self.reading.positive or descent.rate is None:
            return ""
        if descent.form == "neither":
            halving = self._mean_halving(descent)
            return "" if halving is None else f" (halving every {number(halving)} steps on average)"
        at_first = "" if self._holds(descent, descent.rate) else "at first "
        if descent.form == "exponential":
            return f" ({at_first}halving every {number(abs(descent.rate))} steps)"
        return f" ({at_first}as step^{descent.rate:.2g})"

    def _mean_halving(self, descent: Descent) -> float | None:
        """The mean number of steps in which the value halves, to where the next phrase begins.

        That is the first steepening of the descent, or its end.
        """
        bends = (e for e in self.reading.steepenings if descent.start < e.step < descent.end)
        bend = next(bends, None)
        end, to = (descent.end, descent.to) if bend is None else (bend.step, bend.value)
        if min(descent.level, to) <= 0 or descent.level <= to:
            return None
        return (end - descent.start) * math.log(2) / math.log(descent.level / to)

    def _holds(self, descent: Descent, rate: float) -> bool:
        """Whether the form of a descent predicts where it ends, so that it holds to its end."""
        if descent.form == "exponential":
            predicted = (descent.end - descent.start) / abs(rate) * math.log(2)
        else:
            predicted = abs(rate) * math.log(descent.end / max(descent.start, 1))
        if min(descent.level, descent.to) <= 0 or descent.level == descent.to:
            return False
        ratio = predicted / abs(math.log(descent.level / descent.to))
        most = _TO_FLOOR if self._leads_to_floor(descent) else _WHOLE
        return 1 / most <= ratio <= most

    def _rise(self, rise: Rise, after: Plateau | None = None) -> str:
        reading = self.reading
        start = "" if after is not None else f" from {self.text(rise.low)}"
        if after is None:
            early = rise.first <= reading.first + 0.02 * (reading.last - reading.first)
            start += " at the start" if early else f" at {rise.first:,}"
        for peak in reading.peaks:
            if rise.first <= peak.step and peak.value == rise.high:
                text = f"{self.rise}{start} to a {self.extremum} of {number(peak.value)} at "
                text += f"{peak.step:,}"
                for descent in reading.descents:
                    if descent.level == peak.value:
                        text += f", then {self.fall}" + self._goes_on(descent)
                        break
                return text
        return f"{self.rise}{start} to {self.text(rise.high)}{self._until(rise)}"

    def _until(self, rise: Rise | Growback) -> str:
        if _to_end(rise, self.reading):
            return f" at the end ({self.reading.last:,})"
        return f" at {rise.last:,}"

    def _growbacks(self) -> list[tuple[int, str]]:
        reading = self.reading
        shown = reading.growbacks[:_SHOWN]
        found = []
        for each in shown:
            verb = "grows back" if not _to_end(each, reading) else "rises again"
            if each.last - each.first <= _JUMP * (reading.last - reading.first):
                verb = "jumps"
            verb = verb if reading.direction == "lower" else self.rise
            text = f"{verb} from {self.text(each.low)} at {each.first:,} to {self.text(each.high)}"
            found.append((each.first, text + self._until(each)))
        if len(reading.growbacks) > len(shown):
            more = len(reading.growbacks) - len(shown)
            noun = "growback" if more == 1 else "growbacks"
            found.append((shown[-1].first + 1, f"{more} more {noun}"))
        return found


def _to_end(rise: Rise | Growback, reading: Reading) -> bool:
    """Whether a rise is one to the end: at least half of it is left there."""
    if not reading.finished or rise.last < reading.first + _LATE * (reading.last - reading.first):
        return False
    if not reading.positive or min(rise.low, rise.high, reading.end) <= 0:
        return abs(reading.end - rise.low) >= abs(rise.high - rise.low) / 2
    return math.log(reading.end / rise.low) >= math.log(rise.high / rise.low) / 2


def _is_end(step: int, value: float, reading: Reading) -> bool:
    """Whether a fall to a value at a step is one to the end, with no leap in between."""
    if not reading.positive or min(value, reading.end) <= 0:
        return step >= _LATE * reading.last
    apart = max(value, reading.end) / min(value, reading.end)
    return step >= _LATE * reading.last and apart <= _LEAP
