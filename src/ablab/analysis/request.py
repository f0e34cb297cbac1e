"""What is to be analyzed: analyses with their settings, and the identity of what they find."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ablab.analysis.analysis import Analysis, all_analyses, find_analysis
from ablab.analysis.figures import figure_as_data
from ablab.analysis.subject import WHOLE, Probing
from ablab.analysis.units import last_step
from ablab.config import Config, InputError, Problem
from ablab.config.source_digest import source_digest
from ablab.experiments.overrides import parse_overrides
from ablab.experiments.parts import check_settings
from ablab.store.stored_run import StoredRun


@dataclass(frozen=True)
class Request:
    """An analysis with its settings and the samples that it looks at.

    Attributes:
        analysis: The analysis.
        settings: Its settings.
        probing: Which samples it looks at.
    """

    analysis: Analysis
    settings: Config
    probing: Probing = WHOLE

    @cached_property
    def name(self) -> str:
        """The analysis's name, followed by ``:key:value`` for settings that are not the defaults.

        The scalars are columns ``analysis/NAME/WHAT`` of the metrics.
        """
        return _named(self.analysis.name, self._changed)

    @cached_property
    def key(self) -> str:
        """12 hexadecimal digits that change whenever its numbers may be others."""
        return self.key_with(None)

    def key_of(self, run: StoredRun) -> str:
        """The key for a run, which changes with its last step if the analysis looks at that."""
        looks = "last_model" in self.analysis.inputs
        return self.key_with(last_step(run)) if looks else self.key

    def key_with(self, last_step: int | None) -> str:
        """The key if the analysis also looks at the model of a last step."""
        own = self.analysis
        known: dict[str, Any] = {
            "analysis": own.name,
            "edition": own.edition,
            "settings": self.settings.model_dump(mode="json"),
        }
        if "task" in own.inputs:
            known["probe"] = [self.probing.samples, self.probing.seed]
        if last_step is not None:
            known["last_step"] = last_step
        if not own.is_shipped:
            known["source"] = str(source_digest(own.examine))
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def about(self) -> dict[str, Any]:
        """What is kept with what it finds, so that it can be shown without the analysis's code."""
        return {
            "analysis": self.analysis.name,
            "question": self.analysis.question,
            "settings": self.settings.model_dump(mode="json"),
            "headline": list(self.analysis.headline),
            "directions": dict(self.analysis.directions),
            "limits": {name: list(ends) for name, ends in self.analysis.limits.items()},
            "figures": [figure_as_data(each) for each in self.analysis.figures],
        }

    @cached_property
    def _changed(self) -> dict[str, Any]:
        """The settings that are not the defaults."""
        defaults = self.analysis.settings().model_dump(mode="json")
        changed = {
            key: value
            for key, value in self.settings.model_dump(mode="json").items()
            if value != defaults[key]
        }
        if "task" in self.analysis.inputs:
            changed |= {
                f"probe_{key}": value
                for key, value in vars(self.probing).items()
                if value != getattr(WHOLE, key)
            }
        return changed


def make_request(
    analysis: str,
    settings: Config | Mapping[str, Any] | None = None,
    probing: Probing = WHOLE,
) -> Request:
    """A request from an analysis's name or import path, and settings.

    Raises:
        InputError: There is no such analysis, or its settings are invalid.
    """
    found = find_analysis(analysis)
    chosen = {} if settings is None else settings
    if not isinstance(chosen, found.settings):
        data = chosen.model_dump() if isinstance(chosen, Config) else dict(chosen)
        chosen = check_settings(found.settings, data, found.name)
    return Request(found, chosen, probing)


def parse_request(text: str, probing: Probing = WHOLE) -> Request:
    """A request as users write it: ``NAME``, or ``NAME:key=value,…``.

    A user's analysis is named by its import path, ``module:function`` or
    ``module:function:key=value,…``. Values are written as in overrides; a list is in brackets.

    Raises:
        InputError: It cannot be parsed, there is no such analysis, or its settings are invalid.
    """
    name, colon, rest = text.strip().partition(":")
    if colon and "=" not in rest.partition(":")[0]:
        function, colon, rest = rest.partition(":")
        name = f"{name}:{function}"
    settings: dict[str, Any] = {}
    for part in _split(rest) if colon else []:
        key, equals, _ = part.partition("=")
        if not equals or not key.strip():
            raise InputError(
                Problem(
                    f"{text!r}: {part!r} is not a setting",
                    "analysis",
                    given=text,
                    expected="NAME, or NAME:key=value,…",
                )
            )
        settings |= {each.key: each.value for each in parse_overrides([part])}
    return make_request(name, settings, probing)


def requests_of(definition: Mapping[str, Any]) -> list[Request]:
    """The analyses that an experiment's definition lists.

    Raises:
        InputError: One does not exist, or its settings are invalid.
    """
    return [parse_request(text) for text in definition.get("analyze", ())]


def default_requests(probing: Probing = WHOLE) -> list[Request]:
    """All shipped analyses, with their default settings."""
    return [Request(each, each.settings(), probing) for each in all_analyses()]


def _named(name: str, changed: Mapping[str, Any]) -> str:
    return ":".join([name, *(f"{key}:{_text(value)}" for key, value in sorted(changed.items()))])


def _text(value: Any) -> str:
    """A value in the letters that the name of a column may have in a measure."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    plain = re.sub(r"[^\w.-]+", "-", text).strip("-")
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    return text if plain == text else f"{plain[:40]}-{digest}"


def _split(text: str) -> Sequence[str]:
    """The parts between commas that are in no brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[{(") - (character in "]})")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
