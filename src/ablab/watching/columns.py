"""Which statistics patterns mean for a stack: columns, in a fixed order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ablab.config import InputError, Problem, nearest
from ablab.train.layout import Layout
from ablab.watching.names import FAMILIES, MODEL, REDUCERS, matches, split_pattern
from ablab.watching.reducer import Place, Reducer, find_reducer
from ablab.watching.sites import Site


@dataclass(frozen=True)
class Column:
    """A statistic: a reducer at a place."""

    place: Place
    reducer: Reducer

    @property
    def name(self) -> str:
        """Its name, ``family/site-or-parameter/reducer``."""
        return f"{self.place.family}/{self.place.name}/{self.reducer.name}"


def choose_columns(
    patterns: Sequence[str],
    sites: Mapping[str, Site],
    layout: Layout,
    slots: Iterable[str],
) -> list[Column]:
    """The statistics that any pattern means, ordered by family, place and reducer.

    Raises:
        InputError: A pattern means none of those that there are.
    """
    if not patterns:
        return []
    every = [
        Column(place, each)
        for place in _places(sites, layout, slots)
        for each in _reducers(patterns)
        if each.fits(place)
    ]
    chosen: set[str] = set()
    names = [column.name for column in every]
    for pattern in patterns:
        found = {name for name in names if matches(name, pattern)}
        if not found:
            raise _nothing(pattern, names)
        chosen |= found
    return [column for column in every if column.name in chosen]


def _places(sites: Mapping[str, Site], layout: Layout, slots: Iterable[str]) -> list[Place]:
    places = []
    for family in ("activation", "activation_grad"):
        places += [
            Place(
                family, site.name, site.shape, site.is_distribution, site.has_zeros
            )
            for site in sites.values()
            if family == "activation" or site.has_grad
        ]
    parameters = [(name, tuple(shape)) for name, shape in zip(layout.names, layout.shapes, strict=True)]
    for family in ("param", "grad"):
        places += [Place(family, name, shape) for name, shape in parameters]
        places.append(Place(family, MODEL, (layout.size,)))
    for slot in slots:
        places += [Place("optimizer", f"{slot}/{name}", shape) for name, shape in parameters]
    return places


def _reducers(patterns: Sequence[str]) -> list[Reducer]:
    """The shipped reducers, and those that a pattern names by import path."""
    own = [
        reducer
        for reducer in (split_pattern(pattern)[2] for pattern in patterns if pattern != "*")
        if ":" in reducer
    ]
    return [find_reducer(name) for name in [*REDUCERS.names(), *dict.fromkeys(own)]]


def _nothing(pattern: str, names: Sequence[str]) -> InputError:
    family, middle, reducer = split_pattern(pattern)
    middles = sorted({name.partition("/")[2].rpartition("/")[0] for name in names if name.startswith(f"{family}/")})
    near = nearest(middle, middles)
    fitting = sorted({name.rpartition("/")[2] for name in names if name.startswith(f"{family}/{middle}/")})
    expected = f"a family of {', '.join(FAMILIES)}; a site or parameter; a reducer"
    if fitting:
        expected = f"of {family}/{middle} there are {', '.join(fitting)}"
    elif middles:
        expected = f"of {family} there are {', '.join(middles[:12])}" + (
            ", …" if len(middles) > 12 else ""
        )
    return InputError(
        Problem(
            f"no statistic is meant by {pattern!r}",
            "watch.statistics",
            given=pattern,
            expected=expected,
            suggestion=f"{family}/{near}/{reducer}" if near and not fitting else nearest(pattern, names),
        )
    )
