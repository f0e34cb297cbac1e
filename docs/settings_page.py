"""Generates the settings page from the configuration classes and their docstrings."""

import inspect
import re
from typing import Annotated, Any, get_args, get_origin

from ablab.config import Component, Config, field_descriptions
from ablab.experiments.parts import TOP_LEVEL
from ablab.model.config import MODELS
from ablab.tasks.config import TASKS
from ablab.train.config import TrainConfig
from ablab.train.optimizer_config import KEY, OPTIMIZERS, own_settings, shared_settings
from ablab.watching.config import WatchConfig


def settings_page() -> str:
    """All settings with their values, defaults and descriptions, as Markdown."""
    parts = ["# Settings", "All keys of an experiment, with their defaults.", *_top_level()]
    for name in TASKS.names():
        parts += _section(f"task, kind: {name}", TASKS.find(name, "task.kind"), "task")
    for name in MODELS.names():
        parts += _section(f"model, kind: {name}", MODELS.find(name, "model.kind"), "model")
    parts += _section("train", TrainConfig, "train")
    parts += _optimizers()
    parts += _section("watch", WatchConfig, "watch")
    return "\n\n".join(parts) + "\n"


_TOP = {
    "name": "The name; by default that of the file.",
    "question": "What the experiment asks.",
    "answer": "The [measure](expectations.md) that the question is about.",
    "logbook": "The logbook that it reproduces, whose claims are compared together.",
    "task": "The samples: below, by `kind`.",
    "model": "The model: below, by `kind`.",
    "train": "Training: below.",
    "watch": "What is recorded while it trains: below.",
    "grid": "The [axes](experiments.md#the-grid) and what varies together.",
    "seeds": "A count, a list, or a [range](experiments.md#seeds-that-are-added) to add them in.",
    "sizes": "Named [sizes](experiments.md#sizes) with what each sets; `size=NAME` chooses one.",
    "analyze": "[Analyses](analysis.md) that follow training.",
    "expect": "[Expectations](expectations.md).",
    "tune": "Settings to [tune](experiments.md#tuning) for each variant.",
    "halving": "Steps at which the worse variants are [paused](experiments.md#halving).",
    "meant": "Findings of the doctor that are [meant](experiments.md#meant-findings).",
}
_WRITTEN = {"cells", "made_by", "size", "tuned"}  # by ablab, into definitions


def _top_level() -> list[str]:
    """The keys of an experiment itself."""
    assert _TOP.keys() == set(TOP_LEVEL) - _WRITTEN, "each key is described"
    lines = ["| key | description |", "| --- | --- |"]
    return ["\n".join([*lines, *(f"| `{key}` | {text} |" for key, text in _TOP.items())])]


def _optimizers() -> list[str]:
    """Each optimizer with its settings and their defaults."""
    lines = ["| optimizer | settings and defaults | description |", "| --- | --- | --- |"]
    for name in OPTIMIZERS.names():
        cls = OPTIMIZERS.find(name, KEY)
        given = {f"train.{key}": value for key, value in shared_settings(cls).items()}
        given |= {f"{KEY}.{key}": cls.model_fields[key].default for key in own_settings(cls)}
        settings = ", ".join(f"`{key}` {_plain(value)}" for key, value in given.items())
        description = re.sub(r"\s+", " ", inspect.cleandoc(cls.__doc__ or ""))
        lines.append(f"| `{name}` | {settings} | {description} |")
    return ["## train.optimizer", "\n".join(lines)]


def _section(title: str, cls: type[Config], prefix: str) -> list[str]:
    lines = ["| key | values | default | description |", "| --- | --- | --- | --- |"]
    lines += _rows(cls, prefix)
    return [f"## {title}", "\n".join(lines)]


def _rows(cls: type[Config], prefix: str) -> list[str]:
    rows = []
    descriptions = field_descriptions(cls)
    for name, field in cls.model_fields.items():
        if name == "kind" and prefix in ("task", "model"):
            continue
        description = re.sub(r"\s+", " ", descriptions[name])
        inner = [
            candidate
            for candidate in (field.annotation, *get_args(field.annotation))
            if inspect.isclass(candidate) and issubclass(candidate, Config)
        ]
        default = "" if inner or field.is_required() else f"`{_plain(field.default)}`"
        several = get_origin(field.annotation) is tuple
        values = (
            ("a list of mappings" if several else "a mapping")
            if inner
            else _values(field.annotation, field.metadata)
        )
        if f"{prefix}.{name}" == KEY:
            values = ", ".join(f"`{each}`" for each in OPTIMIZERS.names()) + ", an import path"
        cells = [f"`{prefix}.{name}`", values, default, description]
        rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
        if get_origin(field.annotation) is dict:
            continue  # the settings of a block are those of the model
        for part in inner:
            rows += _rows(part, f"{prefix}.{name}")
    return rows


def _values(annotation: Any, marks: list[Any]) -> str:
    components = [mark for mark in marks if isinstance(mark, Component)]
    if components:
        names = [f"`{name}`" for name in components[0].variants.names()]
        return ", ".join([*names, "or an import path"])
    options = [part for part in get_args(annotation) if isinstance(part, str)]
    for part in get_args(annotation):
        options += [option for option in get_args(part) if isinstance(option, str)]
    kinds = {int: "integer", float: "number", bool: "true or false", str: "text"}
    parts = [annotation, *get_args(annotation)]
    parts = [get_args(part)[0] if get_origin(part) is Annotated else part for part in parts]
    others = [kinds[part] for part in parts if part in kinds]
    if get_origin(annotation) is dict:
        return "a mapping"
    if get_origin(annotation) is tuple:
        return f"a list of {others[0]}s" if others else "a list"
    return ", ".join([*(f"`{option}`" for option in options), *dict.fromkeys(others)])


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return str(list(value))
    return str(value).lower() if isinstance(value, bool) else str(value)
