"""Placeholder until the module of the same name is merged."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Probe:
    tokens: Any
    targets: Any
    factors: Any
    whole: bool


def probe(task, *, samples=None, seed=0):
    b = task.held_out(samples or 256)
    return Probe(b.tokens, b.targets, {}, False)
