"""Imports archived copies of users' modules, under private names; ``sys.path`` does not change.

A copy ``mine.py`` with the digest 3f9c… becomes the module ``ablab_archived_3f9c….mine``. Whatever
its code imports is looked for among the archived copies first, by way of an ``__import__`` of its
own, and then as usual. Nothing is written: no bytecode either.
"""

import builtins
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

_PREFIX = "ablab_archived_"
_packages: dict[
    str, Mapping[str, "ArchivedFile"]
] = {}  # the archived files by the name of their package
_in_use: ContextVar[Mapping[str, str] | None] = ContextVar("archived modules in use", default=None)


@dataclass(frozen=True)
class ArchivedFile:
    """A archived copy of a module's source.

    Attributes:
        path: Where it is, for tracebacks.
        content: Its bytes.
        is_package: Whether it is the ``__init__`` of a package.
    """

    path: Path
    content: bytes
    is_package: bool


def add_archived(digest: str, files: Mapping[str, ArchivedFile]) -> str:
    """Makes archived copies importable; returns the name of the package that contains them.

    Args:
        digest: Their digest.
        files: The copies by the names of their modules.
    """
    package = _PREFIX + digest
    _packages[package] = files
    if not any(isinstance(each, _Finder) for each in sys.meta_path):
        sys.meta_path.append(_Finder())
    return package


@contextmanager
def using_archived(modules: Mapping[str, str]) -> Iterator[None]:
    """Uses archived copies in place of the modules that import paths name.

    Args:
        modules: For an import path (``mine:Thing``), the name of the package of its archived copy.
    """
    token = _in_use.set({**(_in_use.get() or {}), **modules})
    try:
        yield
    finally:
        _in_use.reset(token)


def archived_name(path: str) -> str | None:
    """The name of the archived module to use for an import path; None: the module itself."""
    package = (_in_use.get() or {}).get(path)
    return None if package is None else f"{package}.{path.partition(':')[0]}"


def public_name(module: str) -> str:
    """The name of a module without the package of archived copies that it may be in."""
    return module.partition(".")[2] if module.startswith(_PREFIX) else module


class _Finder(MetaPathFinder):
    """Finds archived modules by their private names, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        files = _packages.get(package)
        if files is None:
            return None
        file = files.get(name)
        if file is not None:
            loader = _Loader(package, file)
            spec = ModuleSpec(fullname, loader, origin=str(file.path), is_package=file.is_package)
            spec.has_location = True
            return spec
        if not name or any(each.startswith(f"{name}.") for each in files):
            return ModuleSpec(fullname, None, is_package=True)  # a package without an __init__
        return None


class _Loader(Loader):
    """Runs an archived module's code with an ``__import__`` that finds its neighbours."""

    def __init__(self, package: str, file: ArchivedFile) -> None:
        self._package, self._file = package, file

    def exec_module(self, module: ModuleType) -> None:
        names = {**vars(builtins), "__import__": self._import}
        vars(module)["__builtins__"] = names
        code = compile(self._file.content, str(self._file.path), "exec", dont_inherit=True)
        exec(code, vars(module))

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        top = name.partition(".")[0]
        files = _packages[self._package]
        archived = name in files or (
            top != "ablab" and any(each.startswith(f"{name}.") for each in files)
        )
        if level or not archived:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        module = builtins.__import__(f"{self._package}.{name}", globals, locals, fromlist or (), 0)
        return module if fromlist else importlib.import_module(f"{self._package}.{top}")
