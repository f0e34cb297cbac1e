"""Components found by name, or by import path for components of the user."""

import importlib
import pkgutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from ablab.config.archived_modules import archived_name
from ablab.config.errors import InputError, Problem, nearest

T = TypeVar("T")


class Registry:
    """The registered components of one kind (tasks, models, …).

    A component registers itself with a decorator. On the first lookup, the registry imports every
    module of ``package`` whose name ends in ``suffix``, so a new component is a new file, without a
    list to edit.
    """

    def __init__(self, kind: str, package: str, suffix: str = "") -> None:
        self.kind = kind
        self._package = package
        self._suffix = suffix
        self._entries: dict[str, Any] = {}
        self._discovered = False
        self._lock = threading.RLock()

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that registers a component as ``name``."""

        def decorate(component: T) -> T:
            if name in self._entries:
                raise ValueError(f"two {self.kind}s are registered as {name!r}")
            self._entries[name] = component
            return component

        return decorate

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._discover()
        return sorted(self._entries)

    def find(self, name: str, key: str) -> Any:
        """The component ``name``; ``key`` is the setting that it was given for, for errors.

        A name with a colon (``mypkg.mymod:thing``) is an import path.
        """
        if ":" in name:
            return load_object(name, key)
        self._discover()
        if name not in self._entries:
            raise InputError(
                Problem(
                    f"{key}: there is no {self.kind} called {name!r}",
                    key=key,
                    given=name,
                    expected="one of "
                    + ", ".join(self.names())
                    + ", or an import path module:name",
                    suggestion=nearest(name, self._entries),
                )
            )
        return self._entries[name]

    def _discover(self) -> None:
        if self._discovered:
            return
        with self._lock:  # another thread may still be importing modules
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                if module.name.endswith(self._suffix):
                    importlib.import_module(f"{self._package}.{module.name}")
            self._discovered = True


def load_object(path: str, key: str) -> Any:
    """The object at an import path ``module:name``; the working directory is searched too.

    Raises:
        InputError: The path is malformed, or the module or the name does not exist.
    """
    module_name, _, name = path.partition(":")
    if not module_name or module_name.startswith(".") or not name.isidentifier():
        raise InputError(
            Problem(f"{key}: not an import path", key, given=path, expected="module:name")
        )
    module = import_component(module_name, path, key)
    if name not in vars(module):
        raise InputError(
            Problem(
                f"{key}: module {module_name!r} has no {name!r}",
                key,
                given=path,
                suggestion=nearest(name, vars(module)),
            )
        )
    return vars(module)[name]


def import_component(module_name: str, path: str, key: str) -> ModuleType:
    """Imports the module of an import path, or the archived copy that is in use for it.

    This is the only place that imports what an experiment names.

    Raises:
        InputError: The module cannot be imported.
    """
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return importlib.import_module(archived_name(path) or module_name)
    except InputError:  # of one of ablab's decorators
        raise
    except (
        Exception,
        SystemExit,
    ) as error:  # a user's module can raise anything
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            Problem(f"{key}: cannot import {module_name!r} ({reason})", key, given=path)
        ) from error
    finally:
        sys.path.remove(here)
