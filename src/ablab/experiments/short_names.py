"""Short names of variants: what differs between them, and no more."""

from collections.abc import Mapping, Sequence
from typing import Any

from ablab.experiments.grid import INACTIVE
from ablab.experiments.variant import variant_label

_WORDS = ("none", "default", "base", "on", "off", "true", "false", "auto", INACTIVE)


def short_names(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """The variants by what differs between them, such as ``d_model 32, 1 head``.

    A setting with the same value in all cells is left out, and a key is shortened to its last
    parts as long as it stays unique. If two cells would get the same name, all get their whole
    label.

    Args:
        cells: The keys and values of each variant.
    """
    keys = differing_keys(cells)
    names = short_keys(keys)
    found = [
        ", ".join(
            setting_name(names[key], cell[key], len(keys) == 1) for key in keys if key in cell
        )
        for cell in cells
    ]
    distinct = len({variant_label(cell) for cell in cells})
    if not all(found) or len(set(found)) < distinct:
        return [variant_label(cell) for cell in cells]
    return found


def group_name(cells: Sequence[Mapping[str, Any]], chosen: Sequence[int]) -> str | None:
    """Some variants by the values of one setting that they and no others have, if there is one.

    Such as ``d_model 16 or 32``; None if no setting tells them from the others in fewer
    words.

    Args:
        cells: The keys and values of each variant.
        chosen: The places of some of them.
    """
    keys = differing_keys(cells)
    for key in keys if len(chosen) < len(cells) else ():
        own = {repr(cells[place].get(key)): cells[place].get(key) for place in chosen}
        if any(key not in cells[place] for place in chosen) or len(own) >= len(chosen):
            continue
        if sum(repr(cell.get(key)) in own for cell in cells) == len(chosen):
            name = short_keys(keys)[key]
            return _either([setting_name(name, each, len(keys) == 1) for each in own.values()])
    return None


def _either(names: Sequence[str]) -> str:
    """Values of a setting, its key or unit once: ``width 8, 16 or 32``, ``1 or 4 heads``."""
    words = [name.split(" ") for name in names]
    if all(len(each) == 2 for each in words):
        firsts, lasts = zip(*words, strict=True)
        if len(set(firsts)) == 1:
            return f"{firsts[0]} {_listed(lasts)}"
        if len({last.removesuffix("s") for last in lasts}) == 1:
            return f"{_listed(firsts)} {lasts[-1]}"
    return _listed(names)


def _listed(words: Sequence[str]) -> str:
    *rest, last = words
    return f"{', '.join(rest)} or {last}" if rest else last


def differing_keys(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys whose values differ between cells, in the grid's order."""
    keys = dict.fromkeys(key for cell in cells for key in cell)
    return [key for key in keys if len({repr(cell.get(key)) for cell in cells}) > 1]


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Each key with its shortest ending, in whole parts, that no other key has.

    ``model.attention.activation`` is ``activation``, or ``attention.activation`` beside
    ``model.mlp.activation``.
    """
    parts = {key: key.split(".") for key in keys}
    found = {}
    for key, own in parts.items():
        for count in range(1, len(own) + 1):
            ending = own[-count:]
            if all(other == key or each[-count:] != ending for other, each in parts.items()):
                break
        found[key] = ".".join(ending)
    return found


def setting_name(key: str, value: Any, alone: bool = False) -> str:
    """A setting and its value in words: ``1 head``, ``d_model 32``, ``bias off``.

    Args:
        key: The key, or the ending that :func:`short_keys` gives.
        value: The value.
        alone: Whether it is the only setting that differs; then the label of a bundle of settings,
            whose key is no setting, stands by itself.
    """
    *path, last = key.split(".")
    if last.startswith("n_") and isinstance(value, int) and not isinstance(value, bool):
        noun = last.removeprefix("n_").replace("_", " ")
        return f"{value:,} {noun.removesuffix('s') if value == 1 else noun}"
    name = ".".join([*path, last])
    if isinstance(value, bool):
        return f"{name} {'on' if value else 'off'}"
    if alone and isinstance(value, str) and not _is_plain(value):
        return value
    return f"{name} {_text(value)}"


def _is_plain(value: str) -> bool:
    """Whether a value says nothing without its key: a number, or a word such as ``none``."""
    try:
        float(value)
    except ValueError:
        return value.lower() in _WORDS
    return True


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)
