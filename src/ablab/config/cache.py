"""The user's cache: what ablab can make or fetch again, in one folder that may be deleted."""

import os
from pathlib import Path

import platformdirs

CORPORA, TOKENIZERS, PROGRAMS = "data", "tokenizers", "compiled"  # its subfolders


def cache_folder() -> Path:
    """The cache: ``ABLAB_CACHE`` where that is set, else the platform's cache folder of the user.

    The folder need not exist.
    """
    named = os.environ.get("ABLAB_CACHE")
    return Path(named).expanduser() if named else default_cache_folder()


def default_cache_folder() -> Path:
    """The cache where ``ABLAB_CACHE`` is not set."""
    return Path(platformdirs.user_cache_dir("ablab"))
