"""The decorator and the registry of analyses.

An analysis is a decorated function in a file of its own in ``ablab/analysis/analyses``; no list
needs editing. A user's own analysis is named by its import path.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NoReturn, get_args

from pydantic import ValidationError

from ablab.analysis.figures import AnalysisFigure
from ablab.analysis.finding import Finding
from ablab.analysis.scalars import NAME_LETTERS, as_number, described, is_name
from ablab.analysis.subject import Subject
from ablab.config import Config, InputError, Variants, field_descriptions
from ablab.config.own_parts import check_arguments, part_error
from ablab.store.scalar_records import ScalarRecord, first_match
from ablab.tasks.config import Direction, Limits

ANALYSES = Variants("analysis", "ablab.analysis.analyses")

SHARE: Limits = (0.0, 1.0)
"""The range of shares, coefficients of Gini and p-values."""
COSINE: Limits = (-1.0, 1.0)
AT_MOST_ONE: Limits = (None, 1.0)
"""The range of one minus a ratio, such as the share of a variance that a prediction explains."""
NOT_NEGATIVE: Limits = (0.0, None)
"""The range of counts, losses, norms and distances."""
RANK: Limits = (1.0, None)
"""The range of effective ranks."""

_ROUNDING = 1e-9

Input = Literal["model", "task", "last_model"]
Examine = Callable[[Subject, Any], Finding]


class ReturnedError(InputError):
    """A user's function returned something else than a finding or a number.

    Args:
        key: What the function is: ``analysis`` or ``measure``.
        name: Its import path.
        what: What is wrong, as the rest of a sentence that begins with its name.
        lines: How such a function is written.
    """

    def __init__(self, key: str, name: str, what: str, *lines: str) -> None:
        super().__init__(*part_error(key, name, what, *lines).problems)
        self.what = what


class NoSettings(Config):
    """For analyses without settings."""


@dataclass(frozen=True)
class Setting:
    """A setting of an analysis: its name, its default and what it is about."""

    name: str
    default: Any
    about: str


@dataclass(frozen=True)
class Analysis:
    """A registered analysis.

    Attributes:
        name: Its name, or its import path.
        question: The question that it answers.
        inputs: What it is computed from: ``model``, ``task`` if it needs samples, and
            ``last_model`` if it looks at the run's model at its last step as well.
        cost: What it costs per model, in a few words.
        settings: The class of its settings, all of which have defaults.
        examine: Computes the finding for a subject.
        headline: Names or patterns of the scalars that are shown first.
        figures: What its figures show.
        limits: The least and the greatest value of scalars; None where there is no end.
        directions: Which values of scalars are better.
        edition: Is raised when its numbers change, so that stored findings are computed again.
    """

    name: str
    question: str
    inputs: tuple[Input, ...]
    cost: str
    settings: type[Config]
    examine: Examine
    headline: tuple[str, ...] = ()
    figures: tuple[AnalysisFigure, ...] = ()
    limits: Mapping[str, Limits] = field(default_factory=dict)
    directions: Mapping[str, Direction] = field(default_factory=dict)
    edition: int = 1

    @property
    def is_shipped(self) -> bool:
        """Whether it is one of ablab's own, rather than a user's, which has an import path."""
        return ":" not in self.name

    def finding(self, subject: Subject, settings: Config) -> Finding:
        """The finding for a subject; scalars that rounding moved out of their range are at its end.

        Raises:
            DoesNotApplyError: The analysis does not apply to the model or its task.
            InputError: Settings do not fit the model, or a name matches no site.
            ReturnedError: It returns something else, or a scalar that is not a number or whose name
                measures cannot contain.
        """
        found: Any = self.examine(subject, settings)
        if not isinstance(found, Finding):
            self._refuse(f"returns {type(found).__name__}; expected a Finding")
        scalars = {name: self._scalar(name, value) for name, value in found.scalars.items()}
        return replace(found, scalars=scalars)

    def _scalar(self, name: Any, value: Any) -> float | None:
        """A scalar as a float, within its range; None if it does not exist."""
        if not is_name(name):
            self._refuse(f"names a scalar {name!r}; expected {NAME_LETTERS}")
        number = None if value is None else as_number(value)
        if number is None and value is not None:
            self._refuse(f"returns {described(value)} as the scalar {name!r}; expected a number")
        return _rounded(number, self.limits, name)

    def _refuse(self, what: str) -> NoReturn:
        raise ReturnedError("analysis", self.name, what, *_LINES)

    def settings_list(self) -> list[Setting]:
        """Its settings, in their order."""
        descriptions = field_descriptions(self.settings)
        return [
            Setting(name, field.default, " ".join(descriptions[name].split()))
            for name, field in self.settings.model_fields.items()
        ]


def analysis(
    name: str,
    *,
    question: str,
    inputs: Sequence[Input],
    cost: str,
    settings: type[Config] = NoSettings,
    headline: Sequence[str] = (),
    figures: Sequence[AnalysisFigure] = (),
    limits: Mapping[str, Limits] | None = None,
    directions: Mapping[str, Direction] | None = None,
    edition: int = 1,
) -> Callable[[Examine], Analysis]:
    """A decorator that registers a function of a subject and settings as an analysis.

    The function must not change the model. It may draw random numbers from torch's global
    generator, which is seeded before each call. It raises
    :class:`ablab.analysis.subject.DoesNotApplyError` if it does not apply to the model or its task.

    Args:
        name: The analysis's name, which is also that of its file; users' own analyses are named by
            their import paths.
        question: The question that it answers.
        inputs: What it is computed from.
        cost: What it costs per model, in a few words.
        settings: The class of its settings.
        headline: Names or patterns of the scalars that are shown first; by default the first few.
        figures: What its figures show.
        limits: The least and the greatest value of scalars, by their names or patterns, of which
            the first match counts; None or infinity where there is no end. Intervals stay within.
        directions: Which values of scalars are better, in the same way; for most, neither.
        edition: Raise it whenever the numbers change.

    Raises:
        InputError: The function has other arguments.
        ValueError: A setting has no default, an input does not exist, a range or a direction is
            invalid, or a range ends before it begins.
    """
    for key, each in settings.model_fields.items():
        if each.is_required():
            raise ValueError(f"the setting {key} of the analysis {name} has no default")
    unknown = sorted(set(inputs) - set(get_args(Input)))
    if unknown:
        raise ValueError(f"the analysis {name} needs {unknown[0]!r}, which is not an input")
    declared = _declared(name, limits or {}, directions or {})

    def decorate(function: Examine) -> Analysis:
        check_arguments(function, ["subject", "settings"], name, "analysis", *_LINES)
        made = Analysis(
            name, question, tuple(inputs), cost, settings, function, tuple(headline),
            tuple(figures), declared.limits, declared.directions, edition,
        )  # fmt: skip
        if ANALYSES.ships(function):
            ANALYSES.register(name)(made)
        return made

    return decorate


def _declared(
    name: str, limits: Mapping[str, Limits], directions: Mapping[str, Direction]
) -> ScalarRecord:
    """What an analysis declares of its scalars, as stores record it.

    Raises:
        ValueError: A range or a direction is invalid, or a range ends before it begins.
    """
    given = {
        "limits": {key: _with_open_ends(ends) for key, ends in limits.items()},
        "directions": dict(directions),
    }
    try:
        found = ScalarRecord.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"][:2]))
        raise ValueError(f"{key} of the analysis {name}: {first['msg']}") from None
    for pattern, (low, high) in found.limits.items():
        if low is not None and high is not None and low > high:
            raise ValueError(
                f"the range of {pattern} of the analysis {name} ends at {high:g}, "
                f"before it begins at {low:g}"
            )
    return found


def _with_open_ends(ends: Any) -> Any:
    """A range with None in place of infinity; anything else as it is."""
    if not isinstance(ends, Iterable) or isinstance(ends, str):
        return ends
    known = list(ends)
    if len(known) == 2:
        known = [
            None if isinstance(end, float) and end == none else end
            for end, none in zip(known, (-math.inf, math.inf), strict=True)
        ]
    return tuple(known)


def _rounded(value: float | None, limits: Mapping[str, Limits], name: str) -> float | None:
    """A value, or the end of its range if it is beyond that by no more than rounding."""
    low, high = first_match(limits, name) or (None, None)
    if value is None:
        return None
    if low is not None and low - _ROUNDING <= value < low:
        return low
    return high if high is not None and high < value <= high + _ROUNDING else value


_LINES = (
    '@analysis("my_analysis", question="…?", inputs=["model", "task"], cost="one pass")',
    "def my_analysis(subject, settings):",
    '    return Finding({"number": 0.0})',
)


def find_analysis(name: str) -> Analysis:
    """The analysis with a name or an import path.

    Raises:
        InputError: There is no such analysis.
    """
    decorator = f"{__name__}.{analysis.__name__}"
    found = ANALYSES.find_made(name, Analysis, "analysis", decorator, _LINES)
    return replace(found, name=name)


def all_analyses() -> list[Analysis]:
    """The shipped analyses, by name."""
    return [find_analysis(name) for name in ANALYSES.names()]
