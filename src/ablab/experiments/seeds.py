"""The seeds of an experiment: fixed, or added until its questions are settled."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablab.config import InputError, Problem, counted, nearest
from ablab.experiments.limits import MAX_RUNS
from ablab.experiments.tree import Origins

_MAX_SEED = 2**32 - 1
_LEAST = 2  # seeds, of which a variance can be estimated
_USUAL, _MOST = 3, 40  # seeds, if nothing else is asked for
_KEYS = ("from", "to", "give_up")


@dataclass(frozen=True)
class Settling:
    """Seeds that are added in rounds until the questions of an experiment are settled.

    Attributes:
        first: The number of seeds that every variant begins with.
        last: The most seeds of a variant.
        give_up: The chance of settling a question by the last seed below which no more are added.
    """

    first: int
    last: int
    give_up: float = 0.1

    def as_data(self) -> dict[str, Any]:
        """As plain data, without defaults."""
        own = {} if self.give_up == Settling.give_up else {"give_up": self.give_up}
        return {"from": self.first, "to": self.last} | own


def read_seeds(value: Any, origins: Origins) -> tuple[tuple[int, ...], Settling | None]:
    """The seeds that every variant begins with, and how more are added; None if none are.

    Args:
        value: A count, a list, or ``{from: 3, to: 40}``.
        origins: The sources of the settings.

    Raises:
        InputError: It is none of these.
    """
    source = origins.of(("seeds",))
    if isinstance(value, Mapping):
        settling = _read_settling(value, source)
        return tuple(range(settling.first)), settling
    if _is_count(value) and 1 <= value <= MAX_RUNS:
        return tuple(range(value)), None
    expected = (
        f"a count from 1 to {MAX_RUNS}, a list of distinct seeds from 0 to {_MAX_SEED}, or "
        "{from: 3, to: 40}"
    )
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise InputError(Problem("seeds has a wrong value", "seeds", source, value, expected))
    for seed in value:
        if not _is_count(seed) or not 0 <= seed <= _MAX_SEED:
            raise InputError(Problem(f"{seed!r} is not a seed", "seeds", source, value, expected))
    repeated = min((seed for seed, times in Counter(value).items() if times > 1), default=None)
    if repeated is not None:
        raise InputError(Problem(f"seed {repeated} is repeated", "seeds", source, value, expected))
    return tuple(value), None


def _read_settling(value: Mapping[Any, Any], source: str | None) -> Settling:
    problems = [
        Problem(
            f"seeds.{key} is not a setting", f"seeds.{key}", source, value[key],
            "from, to and give_up", nearest(str(key), _KEYS),
        )
        for key in value
        if key not in _KEYS
    ]  # fmt: skip
    first, last = value.get("from", _USUAL), value.get("to")
    if not _is_count(first) or not _LEAST <= first <= MAX_RUNS:
        expected = f"a number of seeds from {_LEAST}"
        problems.append(
            Problem("seeds.from has a wrong value", "seeds.from", source, first, expected)
        )
    elif not isinstance(last, int) or not _is_count(last) or not first <= last <= MAX_RUNS:
        given = "nothing" if last is None else last
        expected = f"the most seeds of a variant, from {first} to {MAX_RUNS}"
        problems.append(Problem("seeds.to has a wrong value", "seeds.to", source, given, expected))
    give_up = value.get("give_up", Settling.give_up)
    is_number = isinstance(give_up, int | float) and not isinstance(give_up, bool)
    if not is_number or not 0 <= give_up < 1:
        expected = "a chance from 0 (never) to below 1"
        problems.append(
            Problem("seeds.give_up has a wrong value", "seeds.give_up", source, give_up, expected)
        )
    if problems:
        raise InputError(*problems)
    assert isinstance(first, int) and isinstance(last, int), "checked above"
    return Settling(first, last, float(give_up))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def settling_of(definition: Mapping[str, Any]) -> Settling | None:
    """How an experiment adds seeds; None if its seeds are fixed.

    Args:
        definition: The experiment as plain data.
    """
    seeds = definition["seeds"]
    if not isinstance(seeds, Mapping):
        return None
    return Settling(seeds["from"], seeds["to"], seeds.get("give_up", Settling.give_up))


def settling_seeds(
    definition: Mapping[str, Any], first: int | None = None, last: int | None = None
) -> dict[str, Any]:
    """The ``seeds`` with which an experiment is settled.

    Args:
        definition: The experiment as plain data, whose seeds may be fixed.
        first: The number of seeds to begin with; by default its own, at least 3.
        last: The most seeds of a variant; by default its own limit, or 40.

    Raises:
        InputError: Its seeds are a list that does not count from 0.
    """
    known = settling_of(definition)
    seeds = definition["seeds"]
    if known is None and list(seeds) != list(range(len(seeds))):
        raise InputError(
            Problem(
                "seeds are added in order, and these are a list", "seeds", None, seeds,
                "a count of seeds",
            )
        )  # fmt: skip
    begins = max(_USUAL, len(seeds)) if known is None else known.first
    begins = begins if first is None else first
    ends = max(_MOST, begins) if known is None else known.last
    give_up = {} if known is None else {"give_up": known.give_up}
    return {"from": begins, "to": ends if last is None else last} | give_up


def most_seeds(definition: Mapping[str, Any]) -> int:
    """The most seeds that a variant can have: by so much the places of variants differ."""
    settling = settling_of(definition)
    return max(1, len(definition["seeds"]) if settling is None else settling.last)


def seeds_words(definition: Mapping[str, Any]) -> str:
    """How many seeds a variant has: ``5 seeds``, or ``3 to 40 seeds``."""
    settling = settling_of(definition)
    if settling is None:
        return counted(len(definition["seeds"]), "seed")
    return f"{settling.first} to {settling.last} seeds"


def seeds_text(definition: Mapping[str, Any]) -> str:
    """The seeds as text: ``0, 1, 2``, or ``from 3 to 40, until the questions are settled``."""
    settling = settling_of(definition)
    if settling is None:
        return ", ".join(map(str, definition["seeds"]))
    return f"from {settling.first} to {settling.last}, until the questions are settled"
