"""The events of a reading as phrases, each with the step at which it begins."""

import math

from ablab.read.curves.numbers import number
from ablab.read.curves.reading import Descent, Growback, Plateau, Reading, Rise, Transition

_SHOWN = 4  # maximum number of growbacks that are described
_JUMP = 0.01  # a rise within this fraction of the curve is a jump
_LATE = 0.93  # a rise that goes on to this fraction of the curve goes on to its end
_WHOLE = 1.25  # a law holds for a whole fall if it predicts its logarithm within this factor
_TO_FLOOR = 1.7  # the same for a fall that ends at a floor, where it slows down
_NEAR = 0.35  # two events within this fraction of a step belong together


def events(reading: Reading) -> list[tuple[int, str]]:
    """The events of a reading in its words, but for spikes and the end."""
    return _Events(reading).parts()


def level_text(plateau: Plateau) -> str:
    """A plateau's level: its name, or its value."""
    return plateau.name or number(plateau.level)


def rises_to_end(reading: Reading) -> bool:
    """Whether the last event is a rise to the end of the curve."""
    risen: list[Rise | Growback] = [*reading.growbacks, *reading.rises]
    return any(_to_end(each, reading) for each in risen)


class _Events:
    """Builds the phrases of one reading. What belongs together is one phrase."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        better = reading.direction == "higher"
        self.fall, self.rise = ("rises", "drops") if better else ("falls", "rises")
        self.extremum = "low" if better else "peak"
        self.told: set[int] = set()  # ids of what is part of another phrase

    def parts(self) -> list[tuple[int, str]]:
        reading = self.reading
        found = []
        for descent in reading.descents:
            if not self._leaves_something(descent):
                start = f"{self.fall} from {number(descent.level)}"
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
        ]  # fmt: skip
        found += [
            (each.step, f"{self.fall} {number(each.factor)} times as steeply from {each.step:,} on "
                        f"({number(each.value)})")
            for each in reading.steepenings
        ]  # fmt: skip
        return found + self._growbacks()

    def _leaves_something(self, descent: Descent) -> bool:
        """Whether a descent is told with the plateau or peak that it comes from."""
        places = [plateau.last for plateau in self.reading.plateaus]
        return descent.start in places or any(self._from_peak(descent))

    def _from_peak(self, descent: Descent) -> list[bool]:
        return [
            peak.value == descent.level and abs(descent.start - peak.step) <= _NEAR * peak.step + 10
            for peak in self.reading.peaks
        ]

    def _plateau(self, plateau: Plateau, first: bool) -> str:
        reading = self.reading
        soon = reading.first + 0.15 * (plateau.last - reading.first)
        if first and plateau.first <= soon:
            text = f"{level_text(plateau)} until {plateau.last:,}"
        else:
            text = self._plateau_there(plateau)
        return text + self._after(plateau)

    def _plateau_there(self, plateau: Plateau) -> str:
        return f"plateau at {level_text(plateau)} from {plateau.first:,} to {plateau.last:,}"

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
        """The form of a descent and where it leads, unless the end of the sentence says that."""
        reading = self.reading
        jump = self._transition(descent)
        form = "" if jump else self._form(descent)
        for plateau in reading.plateaus:
            slack = _NEAR * (descent.end - descent.start) + 10
            if (
                descent.start < plateau.first <= descent.end + slack
                and id(plateau) not in self.told
            ):
                self.told.add(id(plateau))
                return f"{form}{jump} to a {self._plateau_there(plateau)}{self._after(plateau)}"
        if self._leads_to_floor(descent):
            return form + jump
        if not reading.finished and descent.end >= _LATE * reading.last:
            return form + jump
        at = "" if jump else f" at {descent.end:,}"
        return f" to {number(descent.to)}{at}{form}{jump}"

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
        near = floor.first <= descent.end + _NEAR * (descent.end - descent.start)
        return near and not any(descent.end <= start <= floor.first for start in starts)

    def _transition(self, descent: Descent) -> str:
        found: Transition | None = next(
            (
                each
                for each in self.reading.transitions
                if descent.start <= each.step <= descent.end
            ),
            None,
        )
        if found is None:
            return ""
        noun = "step" if found.width == 1 else "steps"
        return f" (transition at {found.step:,}, 10% to 90% in {found.width:,} {noun})"

    def _form(self, descent: Descent) -> str:
        if not self.reading.positive or not math.isfinite(descent.rate):
            return ""
        at_first = "" if self._holds(descent) else "at first "
        if descent.form == "exponential":
            return f" ({at_first}halving every {number(abs(descent.rate))} steps)"
        return f" ({at_first}as step^{descent.rate:.2g})"

    def _holds(self, descent: Descent) -> bool:
        """Whether the form of a descent predicts where it ends, so that it holds to its end."""
        if descent.form == "exponential":
            predicted = (descent.end - descent.start) / abs(descent.rate) * math.log(2)
        else:
            predicted = abs(descent.rate) * math.log(descent.end / max(descent.start, 1))
        if min(descent.level, descent.to) <= 0 or descent.level == descent.to:
            return False
        ratio = predicted / abs(math.log(descent.level / descent.to))
        most = _TO_FLOOR if self._leads_to_floor(descent) else _WHOLE
        return 1 / most <= ratio <= most

    def _rise(self, rise: Rise, after: Plateau | None = None) -> str:
        reading = self.reading
        start = "" if after is not None else f" from {number(rise.low)}"
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
        return f"{self.rise}{start} to {number(rise.high)}{self._until(rise)}"

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
            text = f"{verb} from {number(each.low)} at {each.first:,} to {number(each.high)}"
            found.append((each.first, text + self._until(each)))
        if len(reading.growbacks) > len(shown):
            more = len(reading.growbacks) - len(shown)
            noun = "growback" if more == 1 else "growbacks"
            found.append((shown[-1].first + 1, f"{more} more {noun}"))
        return found


def _to_end(rise: Rise | Growback, reading: Reading) -> bool:
    return rise.last >= reading.first + _LATE * (reading.last - reading.first)
