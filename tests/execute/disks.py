"""Small file systems in memory for tests, and what a store says after a disk failed."""

import shutil
import subprocess

import pytest

from ablab.store import Store
from ablab.store.check import check_store


class Disk:
    """A small file system in memory.

    Attributes:
        path: Where it is mounted.
    """

    def __init__(self, path, size, inodes=0):
        self.path = path
        path.mkdir()
        options = f"size={size}" + (f",nr_inodes={inodes}" if inodes else "")
        found = self._run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path))
        if found is None or found.returncode:
            pytest.skip("mounting a small file system needs Linux and root")

    def remount(self, options):
        assert self._run("mount", "-o", f"remount,{options}", str(self.path)).returncode == 0

    def unmount(self):
        self._run("umount", "-l", str(self.path))

    @staticmethod
    def _run(command, *arguments):
        if shutil.which(command) is None:
            return None
        return subprocess.run([command, *arguments], capture_output=True, check=False)


def statuses(path):
    """The statuses of a store's runs, which has no problems; none is blamed for its disk."""
    store = Store(path)
    runs = store.runs()
    assert check_store(store).problems == []
    assert not any(run.error for run in runs)
    store.close()
    return {run.status for run in runs}
