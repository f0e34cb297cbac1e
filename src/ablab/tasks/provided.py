"""Texts that another machine has sent, in place of files that settings name.

Does not import torch.
"""

from collections.abc import Mapping

_texts: dict[str, str] = {}


def provide(texts: Mapping[str, str]) -> None:
    """Uses these texts from now on, by the names that settings have for them."""
    _texts.update(texts)


def provided(name: str) -> str | None:
    """The text that was sent under a name; None if there is none."""
    return _texts.get(name)
