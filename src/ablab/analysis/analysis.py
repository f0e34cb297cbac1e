"""The decorator and the registry of analyses.

An analysis is a decorated function in a file of its own in ``ablab/analysis/analyses``; no list
needs editing. A user's own analysis is named by its import path.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from ablab.analysis.figures import AnalysisFigure
from ablab.analysis.finding import Finding
from ablab.analysis.subject import Subject
from ablab.config import Config, Variants, field_descriptions

ANALYSES = Variants("analysis", "ablab.analysis.analyses")

Input = Literal["model", "task"]
Examine = Callable[[Subject, Any], Finding]


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
        inputs: What it is computed from: ``model``, and ``task`` if it needs samples.
        cost: What it costs per model, in a few words.
        settings: The class of its settings, all of which have defaults.
        examine: Computes the finding for a subject.
        headline: Names or patterns of the scalars that are shown first.
        figures: What its figures show.
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
    edition: int = 1

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
        edition: Raise it whenever the numbers change.

    Raises:
        ValueError: A setting has no default, or an input does not exist.
    """
    for key, each in settings.model_fields.items():
        if each.is_required():
            raise ValueError(f"the setting {key} of the analysis {name} has no default")
    unknown = sorted(set(inputs) - set(get_args(Input)))
    if unknown:
        raise ValueError(f"the analysis {name} needs {unknown[0]!r}, which is not an input")

    def decorate(function: Examine) -> Analysis:
        made = Analysis(
            name, question, tuple(inputs), cost, settings, function, tuple(headline),
            tuple(figures), edition,
        )  # fmt: skip
        if ANALYSES.ships(function):
            ANALYSES.register(name)(made)
        return made

    return decorate


def find_analysis(name: str) -> Analysis:
    """The analysis with a name or an import path.

    Raises:
        InputError: There is no such analysis.
    """
    decorator = f"{__name__}.{analysis.__name__}"
    found = ANALYSES.find_made(name, Analysis, "analysis", decorator)
    return replace(found, name=name)


def all_analyses() -> list[Analysis]:
    """The shipped analyses, by name."""
    return [find_analysis(name) for name in ANALYSES.names()]
