"""Sets a value in the tree of an experiment."""

from collections.abc import Mapping
from typing import Any

from ablab.experiments.parts import part_class
from ablab.experiments.setting_keys import has_key
from ablab.experiments.tree import Origins, is_short, put
from ablab.experiments.tree import Path as KeyPath


def assign(tree: dict[str, Any], path: KeyPath, value: Any, origins: Origins) -> None:
    """Sets a value; if the kind of a part changes, drops settings that the new kind lacks."""
    part = path[0]
    before = _kind(tree, part)
    put(tree, path, value)
    if len(path) == 1 and isinstance(tree[part], str):
        tree[part] = {"kind": tree[part]}
    if not isinstance(tree[part], dict):
        return  # reported later, when the parts are checked
    if part in ("task", "model") and before is not None and _kind(tree, part) != before:
        given = set(value) if len(path) == 1 and isinstance(value, Mapping) else set()
        cls = part_class(part, tree[part], origins)
        tree[part] = {
            key: inner for key, inner in tree[part].items() if key in given or has_key(cls, (key,))
        }


def _kind(tree: Mapping[str, Any], part: str) -> str | None:
    data = tree.get(part)
    if isinstance(data, str):
        return data
    if not isinstance(data, Mapping):
        return None
    kind = data.get("kind", "transformer" if part == "model" else None)
    return kind if isinstance(kind, str) else None


def order_of(path: KeyPath, value: Any) -> tuple[bool, bool]:
    """By which settings are sorted before they are assigned: kinds first, and then other names.

    So ``train.schedule=cosine`` and ``train.schedule.warmup=100`` mean the same in any order.
    """
    return not is_kind(".".join(path)), not is_short(path, value)


def is_kind(key: str) -> bool:
    """Whether a key sets the kind of a part, and so which other settings there are."""
    return key in ("task", "model", "task.kind", "model.kind")
