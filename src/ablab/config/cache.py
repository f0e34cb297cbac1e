"""The user's cache folder. It holds only what ablab can compute or download again."""

import os
from pathlib import Path

import platformdirs

CORPORA, TOKENIZERS, PROGRAMS = "data", "tokenizers", "compiled"  # its subfolders


def cache_folder() -> Path:
    """``ABLAB_CACHE`` if that is set, otherwise the platform's cache folder for the user.

    The folder might not exist yet.
    """
    named = os.environ.get("ABLAB_CACHE")
    return Path(named).expanduser() if named else default_cache_folder()


def default_cache_folder() -> Path:
    """The cache folder that is used if ``ABLAB_CACHE`` is not set."""
    return Path(platformdirs.user_cache_dir("ablab"))
