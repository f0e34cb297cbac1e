"""Kernels of compiled programs by their source: programs build only those that none has built.

The programs of a grid's shapes differ little: of the 16 kernels of a block with another attention
activation, 2 or 3 are new. The instructions of a kernel do not depend on what else its file has
(docs/decisions/0039).
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ablab.config.files import write_text_atomically
from ablab.model import torch_internals
from ablab.train import stored_programs

_EDITION = "1"


class StoredKernels:
    """The kernels that programs on this machine have built, in one folder.

    Args:
        folder: The folder, which need not exist.
        about: What determines the instructions of a kernel, beside its source.
    """

    def __init__(self, folder: Path, about: Sequence[Any]) -> None:
        self._folder, self._about = folder, list(about)

    def find(self, kinds: Sequence[str], source: str) -> tuple[Any, str] | None:
        """The module of a kernel and the name of its function there, if it is whole."""
        try:
            found = json.loads(self._file(kinds, source).read_text(encoding="utf-8"))
            module = stored_programs.kernel_module(found["file"], found["digest"])
            name: str = found["name"]
            getattr(module, name)
        except Exception:  # none is stored, it was cut, or its file is gone: it is built
            return None
        return module, name

    def store(self, kinds: Sequence[str], source: str, built: str, name: str) -> None:
        """Stores where a kernel was built, if the folder can be written.

        Args:
            kinds: The kinds of its arguments in C++.
            source: Its source.
            built: The file that has it.
            name: Its name there.
        """
        with suppress(Exception):  # a later program builds it again
            about = {"file": built, "name": name, "digest": stored_programs.file_digest(built)}
            write_text_atomically(self._file(kinds, source), json.dumps(about))

    def _file(self, kinds: Sequence[str], source: str) -> Path:
        parts = json.dumps([_EDITION, *self._about, list(kinds), source])
        return self._folder / f"{hashlib.sha256(parts.encode()).hexdigest()[:32]}.json"


def stored_kernels() -> StoredKernels | None:
    """The kernels that can be shared at present; None where programs are not stored."""
    with suppress(Exception):  # a part of torch or its compiler is missing
        about = stored_programs.surroundings()
        if about is not None:
            version = torch_internals.compiler_version()
            return StoredKernels(stored_programs.folder() / "kernels", [*about, version])
    return None
