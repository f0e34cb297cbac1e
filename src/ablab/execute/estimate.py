"""Estimated durations: a value, and the range in which the actual one probably lies."""

from dataclasses import dataclass

from ablab.execute.status import duration

_EXACT = 0.3  # a single value is shown if the range is within this fraction of it
_UNITS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))


@dataclass(frozen=True)
class Estimate:
    """An estimated duration.

    Attributes:
        seconds: The most probable value.
        low: The lower end of the range.
        high: The upper end.
    """

    seconds: float = 0.0
    low: float = 0.0
    high: float = 0.0

    @classmethod
    def within(cls, seconds: float, factor: float) -> "Estimate":
        """A value that may be wrong by a factor in either direction."""
        return cls(seconds, seconds / factor, seconds * factor)

    def __add__(self, other: "Estimate") -> "Estimate":
        """The sum; errors are assumed to go in the same direction, as those of a slow machine."""
        return Estimate(self.seconds + other.seconds, self.low + other.low, self.high + other.high)

    def overlaps(self, other: "Estimate") -> bool:
        """Whether the ranges have a value in common, so that either duration may be shorter."""
        return self.low <= other.high and other.low <= self.high

    def __str__(self) -> str:
        """``3 min 20 s ± 20%`` if the range is narrow, otherwise ``2 to 4 min``."""
        if self.seconds <= 0:
            return duration(0)
        spread = max(self.high / self.seconds - 1, 1 - self.low / self.seconds)
        if spread < 0.005:
            return duration(self.seconds)
        if spread <= _EXACT:
            return f"{duration(self.seconds)} ± {spread:.0%}"
        (low, unit), (high, unit_of_high) = _rounded(self.low), _rounded(self.high)
        return f"{low}{'' if unit == unit_of_high else f' {unit}'} to {high} {unit_of_high}"


NO_TIME = Estimate()


def _rounded(seconds: float) -> tuple[str, str]:
    """Two significant digits in the largest unit of which there is at least one."""
    size, unit = next((each for each in _UNITS if seconds >= each[0]), _UNITS[-1])
    amount = float(f"{seconds / size:.2g}")
    return (f"{amount:,.0f}" if amount >= 10 else f"{amount:g}"), unit
