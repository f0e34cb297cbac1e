"""Rows and captures that are written before it is known whether they are to be kept.

The index does not list their files until then. A kill leaves them unused, which is harmless.
"""

from uuid import uuid4

import polars as pl
from safetensors.torch import load_file, save_file
from torch import Tensor

from ablab.config.files import PARTIAL
from ablab.store.artifacts import save_artifact
from ablab.store.files import remove, write_atomically
from ablab.store.parts import WrittenPart, add_part, write_part
from ablab.store.paths import ARTIFACTS, inside
from ablab.store.store import Store


class StagedResults:
    """Results of one run that wait to be kept or discarded.

    Args:
        store: The store.
        run: The run's id.
    """

    def __init__(self, store: Store, run: str) -> None:
        self._store, self._run = store, run
        self._parts: list[WrittenPart] = []
        self._captures: list[tuple[int, str]] = []  # steps and file names
        self._folder = inside(store.path, ARTIFACTS["capture"], run)

    def add_rows(self, frame: pl.DataFrame) -> None:
        """Writes rows.

        Raises:
            StoreError: They cannot be written.
        """
        self._parts.append(write_part(self._store, frame))

    def add_capture(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Writes the tensors captured after a step.

        Raises:
            StoreError: They cannot be written.
        """
        name = f"{PARTIAL}{uuid4().hex}-staged"
        own = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
        write_atomically(self._folder / name, lambda to: save_file(own, to), self._store.path)
        self._captures.append((step, name))

    def keep(self) -> None:
        """Makes the results a part of the store, captures first.

        Raises:
            StoreError: The index or a capture cannot be written.
        """
        while self._captures:  # one at a time, so that only one is on the disk twice
            step, name = self._captures[0]
            tensors = load_file(self._folder / name)
            save_artifact(self._store, "capture", self._run, step, tensors, {})
            remove(self._folder / name)
            self._captures.pop(0)
        with self._store.index.transaction() as connection:
            for part in self._parts:
                add_part(connection, self._store, part)
        self._parts = []

    def discard(self) -> None:
        """Removes what is not kept."""
        for part in self._parts:
            remove(part.written.path)
        for _, name in self._captures:
            remove(self._folder / name)
        self._parts, self._captures = [], []
