"""The name, question, answer, analyses and logbook of an experiment."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ablab.config import InputError, Problem
from ablab.experiments.measures import parse_measure
from ablab.experiments.tree import Origins

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
NAME_RULE = "at most 100 letters, digits, '.', '_' and '-', starting with a letter or digit"


def is_name(text: str) -> bool:
    """Whether a text can be the name of an experiment."""
    return _NAME.fullmatch(text) is not None


def read_name(value: Any, origins: Origins) -> str:
    """The name, which files and tables use."""
    if isinstance(value, str) and is_name(value):
        return value
    raise InputError(
        Problem(
            "the experiment has no name" if value is None else "the name is not valid",
            "name",
            origins.of(("name",)),
            value if value is not None else "nothing",
            NAME_RULE,
        )
    )


def read_question(value: Any, origins: Origins) -> str:
    """The question; empty if there is none."""
    text = "" if value is None else str(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            Problem("the question is not text", "question", origins.of(("question",)))
        ) from error
    return text


def read_answer(value: Any, origins: Origins) -> dict[str, str]:
    """The measure that the question is about, as ``{"answer": measure}``; empty if not stated."""
    if value is None:
        return {}
    source = origins.of(("answer",))
    if not isinstance(value, str):
        expected = "a measure such as leaves(log(10)) or final(eval_loss)"
        raise InputError(Problem("answer is not a measure", "answer", source, value, expected))
    return {"answer": parse_measure(value, source).text}


def read_analyses(value: Any, origins: Origins) -> dict[str, list[str]]:
    """The analyses that follow training, as ``{"analyze": names}``; empty if there are none.

    Whether they exist is checked before training, by what knows analyses.
    """
    if value is None:
        return {}
    source, expected = origins.of(("analyze",)), "a list such as [fourier, progress]"
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not all(isinstance(e, str) and e.strip() for e in names):
        raise InputError(Problem("analyze has a wrong value", "analyze", source, value, expected))
    return {"analyze": list(names)}


def read_meant(value: Any, origins: Origins) -> dict[str, str]:
    """The findings of ``ablab doctor`` that are meant, with the reason for each.

    The doctor checks their names, since it knows its checks.
    """
    if value is None:
        return {}
    reasons = value.values() if isinstance(value, Mapping) else [None]
    if not all(isinstance(reason, str) and reason.strip() for reason in reasons):
        source, expected = origins.of(("meant",)), "meant: {CHECK: REASON, …}"
        raise InputError(
            Problem("meant is not a mapping of reasons", "meant", source, value, expected)
        )
    return {str(name): str(reason) for name, reason in value.items()}


def read_logbook(tree: Mapping[str, Any], origins: Origins) -> dict[str, str]:
    """The logbook of an experiment, as ``{"logbook": name}``; empty if it has none."""
    value = tree.get("logbook")
    if value is None:
        return {}
    if isinstance(value, str) and _NAME.fullmatch(value):
        return {"logbook": value}
    expected = "letters, digits, '.', '_' and '-', starting with a letter or digit"
    source = origins.of(("logbook",))
    raise InputError(
        Problem("the name of the logbook is not valid", "logbook", source, value, expected)
    )
