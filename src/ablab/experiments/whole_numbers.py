"""Which settings are whole numbers, so that the values of a sweep over them are rounded."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from ablab.config import Config
from ablab.model.config import MODELS
from ablab.tasks.config import TASKS
from ablab.train.config import TrainConfig
from ablab.watching.config import WatchConfig

_KINDS = {"task": TASKS, "model": MODELS}


def is_whole(key: str, tree: Mapping[str, Any]) -> bool | None:
    """Whether a setting is a whole number; None if the configuration classes do not say.

    No module of a user is imported, so nothing is known of the settings of a user's component.

    Args:
        key: The dotted key of the setting.
        tree: The settings by part.
    """
    part, *path = key.split(".")
    for cls in _classes(part, tree):
        types = _types(cls, path)
        if types:
            return int in types and float not in types
    return None


def class_of_kind(part: str, tree: Mapping[str, Any]) -> type[Config] | None:
    """The configuration class of a part; None for that of a user, which is not imported."""
    if part not in _KINDS:
        return next(_classes(part, tree), None) if part in ("train", "watch") else None
    data = tree.get(part)
    kind = data.get("kind") if isinstance(data, Mapping) else data
    kind = "transformer" if part == "model" and kind is None else kind
    if not isinstance(kind, str) or kind not in _KINDS[part].names():
        return None
    return next(_classes(part, {part: {"kind": kind}}), None)


def _classes(part: str, tree: Mapping[str, Any]) -> Iterator[type[Config]]:
    """The classes that can have the settings of a part, that of its kind first."""
    if part in ("train", "watch"):
        yield TrainConfig if part == "train" else WatchConfig
        return
    registry = _KINDS[part]
    data = tree.get(part)
    kind = data.get("kind") if isinstance(data, Mapping) else data
    names = registry.names()
    if isinstance(kind, str) and ":" in kind:
        return
    for name in sorted(names, key=lambda each: each != kind):
        found = registry.find(name, f"{part}.kind")
        if isinstance(found, type) and issubclass(found, Config):
            yield found


def _types(cls: type[Config], path: list[str]) -> set[Any]:
    """The types of the values that a setting can have; empty if the class does not have it."""
    if not path or path[0] not in cls.model_fields:
        return set()
    types = set(_flat(cls.model_fields[path[0]].annotation))
    rest = path[1:]
    if not rest:
        return types
    inner = next((t for t in types if isinstance(t, type) and issubclass(t, Config)), None)
    rest = rest[1:] if rest[0].isdigit() else rest  # such as the number of a block
    return _types(inner, rest) if inner is not None and rest else set()


def _flat(annotation: Any) -> Iterator[Any]:
    """The types in an annotation, those within unions, mappings and ``Annotated`` included."""
    parts = get_args(annotation)
    if not parts:
        yield annotation
    for part in parts:
        yield from _flat(part)
