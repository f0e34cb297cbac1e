"""The dotted keys of settings that are valid, and the one that a user probably meant."""

from collections.abc import Iterator
from typing import get_args, get_origin

from ablab.config import Config, nearest
from ablab.experiments.tree import Path
from ablab.model.config import MODELS
from ablab.tasks.config import TASKS
from ablab.train.config import TrainConfig
from ablab.watching.config import WatchConfig

_NUMBERED = "N"  # placeholder for a number in a known key
_WORDS = {
    "width": "d_model", "hidden_size": "d_model", "hidden": "d_model", "hidden_dim": "d_model",
    "dim": "d_model", "n_embd": "d_model", "embed_dim": "d_model",
    "heads": "n_heads", "n_head": "n_heads", "num_heads": "n_heads", "nhead": "n_heads",
    "layers": "n_layers", "depth": "n_layers", "n_layer": "n_layers", "num_layers": "n_layers",
    "digits": "n_digits", "num_digits": "n_digits",
    "learning_rate": "lr", "batch": "batch_size", "bs": "batch_size",
    "wd": "weight_decay", "num_epochs": "epochs", "n_steps": "steps", "max_steps": "steps",
    "num_steps": "steps", "iterations": "steps", "clip": "clip_norm", "grad_clip": "clip_norm",
}  # fmt: skip
"""Usual words of the field, and the settings that they mean."""


def known_keys() -> list[str]:
    """All dotted keys of built-in tasks and models and of training, for suggestions."""
    keys = ["name", "question", "seeds"]
    classes: list[tuple[str, type[Config]]] = [("train", TrainConfig), ("watch", WatchConfig)]
    classes += [("task", TASKS.find(name, "task.kind")) for name in TASKS.names()]
    classes += [("model", MODELS.find(name, "model.kind")) for name in MODELS.names()]
    for part, cls in classes:
        keys += [key for key in keys_of(cls, part) if key not in keys]
    return keys


def suggest_key(key: str, among: list[str] | None = None) -> str | None:
    """The valid dotted key that the user probably meant by ``key``."""
    keys = known_keys() if among is None else among
    numbers = [name for name in key.split(".") if name.isdigit()]
    if numbers:  # such as the number of a block, for which known keys have a placeholder
        key = ".".join(_NUMBERED if name.isdigit() else name for name in key.split("."))
        found = suggest_key(key, keys)
        return None if found is None else found.replace(_NUMBERED, numbers[0])
    tails = {
        known.rpartition(".")[2]: known
        for known in reversed(keys)
        if _NUMBERED in key or _NUMBERED not in known
    }
    tail = key.rpartition(".")[2]
    if key in keys or tail in tails:
        same = [known for known in keys if known.rpartition(".")[2] == tail]
        return key if key in keys else nearest(key, same) or tails[tail]
    if _WORDS.get(tail) in tails:
        return tails[_WORDS[tail]]
    near = [known for known in keys if nearest(tail, [known.rpartition(".")[2]])]
    return nearest(key, near) or tails.get(nearest(tail, tails) or "")


def has_key(cls: type[Config], path: Path) -> bool:
    """Whether a configuration class has a setting at ``path``."""
    for number, name in enumerate(path):
        if name not in cls.model_fields:
            return False
        inner = _inner(cls, name)
        if inner is None or _is_numbered(cls, name):
            return inner is not None or number == len(path) - 1
        cls = inner
    return True


def keys_of(cls: type[Config], prefix: str) -> Iterator[str]:
    """The dotted keys of a configuration class and those in it, with ``N`` for numbers."""
    for name in cls.model_fields:
        yield f"{prefix}.{name}"
        inner = _inner(cls, name)
        if inner is not None:
            is_list = get_origin(cls.model_fields[name].annotation) is tuple
            numbered = is_list or _is_numbered(cls, name)
            place = f"{name}.{_NUMBERED}" if numbered else name
            yield from keys_of(inner, f"{prefix}.{place}")


def _inner(cls: type[Config], name: str) -> type[Config] | None:
    """The configuration class of a field that holds one, or a mapping of them."""
    annotation = cls.model_fields[name].annotation
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Config):
            return candidate
    return None


def _is_numbered(cls: type[Config], name: str) -> bool:
    """Whether a field maps numbers to configurations."""
    return get_origin(cls.model_fields[name].annotation) is dict
