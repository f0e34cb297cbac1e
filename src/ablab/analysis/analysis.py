"""What an analysis is: one decorated function of a subject, found by its file.

An analysis is one file in ``ablab/analysis/analyses``; no list is edited. A user's own is named by
its import path.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from ablab.analysis.finding import Finding
from ablab.analysis.subject import Subject
from ablab.config import Config, InputError, Problem, Variants

ANALYSES = Variants("analysis", "ablab.analysis.analyses")

Need = Literal["model", "task"]
Examine = Callable[[Subject, Any], Finding]


class NoSettings(Config):
    """The settings of an analysis that has none."""


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
        needs: What it looks at: ``model``, and ``task`` where it needs samples or their meaning.
        cost: What one model takes, in a few words.
        settings: The class of its settings; each has a default.
        examine: Gives the finding of a subject.
    """

    name: str
    question: str
    needs: tuple[Need, ...]
    cost: str
    settings: type[Config]
    examine: Examine

    def settings_list(self) -> list[Setting]:
        """Its settings, in their order."""
        return [
            Setting(name, field.default, " ".join((field.description or "").split()))
            for name, field in self.settings.model_fields.items()
        ]


def analysis(
    name: str,
    *,
    question: str,
    needs: Sequence[Need],
    cost: str,
    settings: type[Config] = NoSettings,
) -> Callable[[Examine], Analysis]:
    """A decorator that makes a function of a subject and its settings an analysis.

    The function must leave the model as it is and draw random numbers from torch's global
    generator alone, which is at the same state each time it is called.

    Args:
        name: The analysis's name, which its file has too; a user's own goes by its import path.
        question: The question that it answers.
        needs: What it looks at.
        cost: What one model takes, in a few words.
        settings: The class of its settings.

    Raises:
        ValueError: A setting has no default, or there is no such need.
    """
    for key, each in settings.model_fields.items():
        if each.is_required():
            raise ValueError(f"the setting {key} of the analysis {name} has no default")
    unknown = sorted(set(needs) - set(get_args(Need)))
    if unknown:
        raise ValueError(f"the analysis {name} needs {unknown[0]!r}, which no subject has")

    def decorate(function: Examine) -> Analysis:
        made = Analysis(name, question, tuple(needs), cost, settings, function)
        if ANALYSES.ships(function):
            ANALYSES.register(name)(made)
        return made

    return decorate


def find_analysis(name: str) -> Analysis:
    """An analysis by its name, or a user's own by its import path.

    Raises:
        InputError: There is none.
    """
    found = ANALYSES.find(name, "analysis")
    if not isinstance(found, Analysis):
        raise InputError(
            Problem(
                f"{name} is not an analysis",
                "analysis",
                given=name,
                expected="a function with the decorator ablab.analysis.analysis.analysis",
            )
        )
    return replace(found, name=name)


def all_analyses() -> list[Analysis]:
    """The shipped analyses, by name."""
    return [find_analysis(name) for name in ANALYSES.names()]
