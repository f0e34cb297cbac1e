"""Which steps are logged: every N-th, or densely at first. Does not import torch."""

from typing import Literal

Every = int | Literal["log"]
_DENSE = 16  # logged steps per doubling


def logs(step: int, every: Every) -> bool:
    """Whether a step is logged.

    ``log`` logs every step below 32, every second step below 64, every fourth step below 128, and
    so on: 16 per doubling.
    """
    return step > 0 and step % _spacing(step, every) == 0


def next_logged(step: int, every: Every) -> int:
    """The first logged step after ``step``."""
    following = step + 1
    spacing = _spacing(following, every)
    return -(-following // spacing) * spacing


def last_logged(step: int, every: Every) -> int:
    """The last logged step up to and including ``step``; 0 if there is none."""
    return step // _spacing(step, every) * _spacing(step, every) if step else 0


def _spacing(step: int, every: Every) -> int:
    """Steps from one logged step to the next at ``step``."""
    if every == "log":
        return max(1, (1 << step.bit_length() - 1) // _DENSE)
    return every
