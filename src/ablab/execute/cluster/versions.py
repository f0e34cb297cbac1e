"""What has to be equal on all machines that train runs of one experiment."""

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from ablab.experiments.identity import NUMERICS_VERSION


@cache
def versions() -> dict[str, str]:
    """The versions of Python, torch, NumPy and ablab, with a digest of ablab's source."""
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "torch": torch.__version__.partition("+")[0],
        "numpy": np.__version__,
        "ablab": version("ablab"),
        "numerics": str(NUMERICS_VERSION),
        "ablab's source": _source_digest()[:12],
    }


def differences(here: dict[str, str], there: dict[str, str]) -> list[str]:
    """What differs between two machines, each as one line."""
    return [
        f"{name} {there.get(name, 'unknown')}, here {here[name]}"
        for name in here
        if there.get(name) != here[name]
    ]


def _source_digest() -> str:
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
