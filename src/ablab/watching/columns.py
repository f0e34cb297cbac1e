"""Resolves patterns to the statistics of a stack: columns in a fixed order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ablab.config import InputError, Problem, nearest
from ablab.train.parameter_layout import ParameterLayout
from ablab.watching.names import FAMILIES, MODEL, REDUCERS, matches, split_pattern
from ablab.watching.reducer import Place, Reducer, find_reducer
from ablab.watching.sites import Site


@dataclass(frozen=True)
class Column:
    """A statistic: a reducer applied at a place."""

    place: Place
    reducer: Reducer

    @property
    def name(self) -> str:
        """Its name, ``family/site-or-parameter/reducer``."""
        return f"{self.place.family}/{self.place.name}/{self.reducer.name}"


def every_column(
    patterns: Sequence[str],
    sites: Mapping[str, Site],
    layout: ParameterLayout,
    optimizer_state: Iterable[str],
) -> list[Column]:
    """All available statistics, ordered by family, place and reducer.

    Args:
        patterns: The patterns in use; those with an import path add a user's own reducer.
        sites: The model's sites.
        layout: The model's parameters.
        optimizer_state: The names of the optimizer's state tensors.
    """
    reducers = _reducers(patterns)
    places = _places(sites, layout, optimizer_state)
    return [Column(place, each) for place in places for each in reducers if each.fits(place)]


def choose_columns(patterns: Sequence[str], every: Sequence[Column]) -> list[Column]:
    """The statistics that match any of the patterns; a pattern may match none."""
    split = [split_pattern(pattern) for pattern in patterns]
    return [column for column in every if any(matches(column.name, each) for each in split)]


def check_patterns(patterns: Sequence[str], every: Sequence[Column]) -> None:
    """Checks that each pattern matches at least one statistic.

    Raises:
        InputError: A pattern matches no statistic.
    """
    names = list(dict.fromkeys(column.name for column in every))
    for pattern in patterns:
        split = split_pattern(pattern)
        if not any(matches(name, split) for name in names):
            raise _no_match(pattern, names)


def _places(
    sites: Mapping[str, Site], layout: ParameterLayout, optimizer_state: Iterable[str]
) -> list[Place]:
    places = []
    for family in ("activation", "activation_grad"):
        places += [
            Place(family, site.name, site.shape, site.is_distribution, site.has_zeros)
            for site in sites.values()
            if family == "activation" or site.has_grad
        ]
    parameters = [
        (name, tuple(shape)) for name, shape in zip(layout.names, layout.shapes, strict=True)
    ]
    for family in ("param", "grad"):
        places += [Place(family, name, shape) for name, shape in parameters]
        places.append(Place(family, MODEL, (layout.size,)))
    for slot in optimizer_state:
        places += [Place("optimizer", f"{slot}/{name}", shape) for name, shape in parameters]
    return places


def _reducers(patterns: Sequence[str]) -> list[Reducer]:
    """The shipped reducers, and those that patterns name by import path."""
    own = [
        reducer
        for reducer in (split_pattern(pattern)[2] for pattern in patterns if pattern != "*")
        if ":" in reducer
    ]
    return [find_reducer(name) for name in [*REDUCERS.names(), *dict.fromkeys(own)]]


def _no_match(pattern: str, names: Sequence[str]) -> InputError:
    family, middle, reducer = split_pattern(pattern)
    middles = sorted(
        {
            name.partition("/")[2].rpartition("/")[0]
            for name in names
            if name.startswith(f"{family}/")
        }
    )
    near = nearest(middle, middles)
    fitting = sorted(
        {name.rpartition("/")[2] for name in names if name.startswith(f"{family}/{middle}/")}
    )
    expected = f"a family of {', '.join(FAMILIES)}; a site or parameter; a reducer"
    if fitting:
        expected = f"one of the reducers of {family}/{middle}: {', '.join(fitting)}"
    elif middles:
        expected = f"a name in {family}: {', '.join(middles[:12])}" + (
            ", …" if len(middles) > 12 else ""
        )
    return InputError(
        Problem(
            f"{pattern!r} matches no statistic",
            "watch.statistics",
            given=pattern,
            expected=expected,
            suggestion=f"{family}/{near}/{reducer}"
            if near and not fitting
            else nearest(pattern, names),
        )
    )
