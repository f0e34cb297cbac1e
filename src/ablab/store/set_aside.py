"""Files are set aside in ``damaged/``, never deleted.

Damaged ones may be mended in some way, and whole ones that the index does not list may be needed.
"""

import os
import shutil
from pathlib import Path

from ablab.config import Problem
from ablab.store.index import StoreError
from ablab.store.paths import DAMAGED, inside
from ablab.store.store import Store


def copy_aside(store: Store, path: Path) -> Path:
    """Gives a file a second name, below ``damaged/``; returns it.

    The first name can then be removed once the index no longer lists it, so that a kill in between
    loses nothing.

    Raises:
        StoreError: The file cannot be set aside.
    """
    names = path.relative_to(store.path).parts
    to = inside(store.path, DAMAGED, *names)
    number = 1
    while to.exists() and not to.samefile(path):  # of an earlier repair
        number += 1
        to = inside(store.path, DAMAGED, *names[:-1], f"{names[-1]}.{number}")
    if to.exists():
        return to
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, to)
        except OSError:  # a file system without hard links
            shutil.copy2(path, to)
    except OSError as error:
        raise StoreError(
            Problem(f"cannot set a damaged file aside ({error.strerror})", given=str(path))
        ) from error
    return to


def set_aside(store: Store, path: Path) -> Path:
    """Moves a file below ``damaged/``; returns its new path.

    Raises:
        StoreError: The file cannot be moved.
    """
    to = copy_aside(store, path)
    path.unlink(missing_ok=True)
    return to
