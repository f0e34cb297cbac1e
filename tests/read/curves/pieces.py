"""What a noiseless curve is made of: pieces of the log of the loss, joined end to end."""

from dataclasses import dataclass

import numpy as np

DEEPEST = np.log(1e-10)


class UnclearError(Exception):
    """What was drawn does not fit, or a person could read it in two ways: draw again."""


def require(clear: bool) -> None:
    if not clear:
        raise UnclearError


def softplus(z: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, z)


def smoothstep(u: np.ndarray) -> np.ndarray:
    """0 to 1 with two derivatives zero at both ends: 6u⁵ − 15u⁴ + 10u³."""
    return u**3 * (10 + u * (6 * u - 15))


@dataclass(frozen=True)
class Mark:
    """Which piece covers the steps `first` … `last`; `rate` is its own (see the methods)."""

    name: str
    first: int
    last: int
    rate: float = 0.0


class Path:
    """A curve being drawn. In the formulas y is the log of the loss, t = 1 … n; y₀: y at t = 0."""

    def __init__(self, value: float) -> None:
        self.y = np.empty(0)
        self.marks: list[Mark] = []
        self.value = float(value)
        self.slope = 0.0

    @property
    def step(self) -> int:
        return len(self.y)

    def _add(self, name: str, y: np.ndarray, slope: float, rate: float = 0.0) -> None:
        require(len(y) >= 2)
        self.marks.append(Mark(name, self.step + 1, self.step + len(y), rate))
        self.y = np.concatenate([self.y, y])
        self.value, self.slope = float(y[-1]), slope

    def plateau(self, n: int, above: float, constant: float) -> None:
        """exp y = P (1 + above · exp(−t / constant)): flat, after a start that settles."""
        t = np.arange(1, n + 1)
        level = self.value
        self._add("plateau", level + np.log1p(above * np.exp(-t / constant)), 0.0)
        self.value = level

    def exponential(self, n: int, drop: float, soft: float) -> None:
        """Y is y₀ − r · soft · [softplus(t/soft − 3) − softplus(−3)]: a line after a round knee."""
        t = np.arange(1, n + 1)
        bend = soft * (softplus(t / soft - 3) - softplus(np.array(-3.0)))
        rate = drop / bend[-1]
        self._add("exponential", self.value - rate * bend, -rate, rate)

    def power(self, n: int, drop: float, soft: float) -> None:
        """The same with u = log(1 + t / step of departure) for t: a line against the log step."""
        u = np.log1p(np.arange(1, n + 1) / self.step)
        bend = soft * (softplus(u / soft - 3) - softplus(np.array(-3.0)))
        rate = drop / bend[-1]
        self._add("power", self.value - rate * bend, -rate / (self.step + n), rate)

    def sigmoid(self, n: int, drop: float) -> None:
        """Y is y₀ − drop · smoothstep(t / n)."""
        u = np.arange(1, n + 1) / n
        self._add("sigmoid", self.value - drop * smoothstep(u), 0.0, drop / n)

    def slower(self, n: int, ratio: float, soft: float) -> None:
        """The slope −r becomes −s = −r/ratio: y = y₀ − st − (r − s) · soft · (1 − e^(−t/soft))."""
        t = np.arange(1, n + 1)
        before, after = -self.slope, -self.slope / ratio
        turn = (before - after) * soft * -np.expm1(-t / soft)
        self._add("slower", self.value - after * t - turn, -after, after)

    def rise(self, n: int, gain: float) -> None:
        """Y is y₀ + gain · smoothstep(t / n)."""
        u = np.arange(1, n + 1) / n
        self._add("rise", self.value + gain * smoothstep(u), 0.0, gain / n)

    def settle(self, n: int, drop: float) -> None:
        """exp y = L + (exp y₀ − L) e^(−qt), L = exp(y₀ − drop), q such that the slope goes on."""
        t = np.arange(1, n + 1)
        excess = np.expm1(drop)
        q = -self.slope * (1 + excess) / excess
        level = self.value - drop
        self._add("settle", level + np.log1p(excess * np.exp(-q * t)), 0.0, q)
        self.value = level
