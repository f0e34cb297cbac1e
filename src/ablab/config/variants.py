"""Small components, one per file, whose names are known before any file is imported."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from ablab.config.errors import InputError, Problem, nearest
from ablab.config.own_parts import check_members
from ablab.config.registry import load_object

T = TypeVar("T")


class Variants:
    """Components of one kind, each in the module of ``package`` with the same name.

    The names are those of the files, so a configuration can be checked without importing torch.
    A file is imported when its component is requested, and registers it with a decorator.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._entries: dict[str, Any] = {}
        self._names: dict[tuple[str, ...], list[str]] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that registers a component as ``name``, the name of its file."""

        def decorate(component: T) -> T:
            assert name in self.names(), f"{name} must be defined in {self._package}.{name}"
            self._entries[name] = component
            return component

        return decorate

    def names(self) -> list[str]:
        """All names, sorted."""
        path = tuple(importlib.import_module(self._package).__path__)
        if path not in self._names:  # listing the folders for every setting would be slow
            self._names[path] = sorted(module.name for module in pkgutil.iter_modules(path))
        return list(self._names[path])

    def ships(self, component: Any) -> bool:
        """Whether a function or class is defined in the package, rather than by a user."""
        return str(component.__module__).startswith(f"{self._package}.")

    def find(self, name: str, key: str | None = None) -> Any:
        """The component ``name``, or the one at the import path ``module:name``.

        Args:
            name: The name or the import path.
            key: The setting or option that it was given for, for errors.

        Raises:
            InputError: There is no such component.
        """
        key = key or self.kind
        if ":" in name:
            return load_object(name, key)
        known = self.names()
        if name not in known:
            raise InputError(
                Problem(
                    f"{key}: there is no {self.kind} called {name!r}",
                    key,
                    given=name,
                    expected=f"one of {', '.join(known)}, or an import path module:name",
                    suggestion=nearest(name, known),
                )
            )
        importlib.import_module(f"{self._package}.{name}")
        return self._entries[name]

    def find_made(
        self, name: str, kind: type[T], key: str, decorator: str, lines: tuple[str, ...] = ()
    ) -> T:
        """:meth:`find` for components that a decorator makes.

        Args:
            name: The name or the import path.
            kind: What the decorator makes.
            key: The setting or option that it was given for, for errors.
            decorator: The decorator's import path, for errors.
            lines: How it is used, for errors.

        Raises:
            InputError: There is no such component, or it does not have the decorator.
        """
        found = self.find(name, key)
        if not isinstance(found, kind):
            raise InputError(
                Problem(
                    f"{key}: {name} is not a valid {self.kind}",
                    key,
                    given=name,
                    expected=f"a function with the decorator {decorator}",
                    lines=lines,
                )
            )
        return found


@dataclass(frozen=True)
class Names:
    """Components of one kind that are known by a fixed list of names, all defined in one place.

    Attributes:
        kind: What they are.
        known: Their names.
    """

    kind: str
    known: tuple[str, ...]

    def names(self) -> list[str]:
        """All names, in their order."""
        return list(self.known)


@dataclass(frozen=True)
class Component:
    """Marks a field that names a component (``Annotated[str, Component(NORMS)]``).

    A component with an import path enters the identity with the hash of its module's source.
    """

    variants: Variants | Names

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Accepts known names, and import paths of callables."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, name: str | None) -> str | None:
        if name is None:  # a field that can be null
            return None
        if ":" in name:
            found = load_object(name, self.variants.kind)
            if not callable(found):
                raise ValueError(f"{name} is not a valid {self.variants.kind}: it is not callable")
            check_members(found, name, self.variants.kind)
        elif name not in self.variants.names():
            names = " or ".join(repr(each) for each in self.variants.names())
            raise PydanticCustomError(
                "literal_error", "unknown {kind}", {"kind": self.variants.kind, "expected": names}
            )
        return name
