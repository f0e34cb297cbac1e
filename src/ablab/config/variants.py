"""Small components, one to a file of its own name: known by name before any of them is imported."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from ablab.config.registry import load_object

T = TypeVar("T")


class Variants:
    """Names of one sort of component, each in the module of ``package`` that has its name.

    A name is known by its file alone, so a configuration can be checked without importing torch;
    the file is imported when the component is asked for, and registers it by a decorator.
    """

    def __init__(self, sort: str, package: str) -> None:
        self.sort = sort
        self._package = package
        self._entries: dict[str, Any] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that makes what it decorates known as ``name``, its file's own name."""

        def decorate(component: T) -> T:
            assert name in self.names(), f"{name} must stand in {self._package}.{name}"
            self._entries[name] = component
            return component

        return decorate

    def names(self) -> list[str]:
        """All names, sorted."""
        package = importlib.import_module(self._package)
        return sorted(module.name for module in pkgutil.iter_modules(package.__path__))

    def find(self, name: str) -> Any:
        """The component called ``name``, or the one at an import path ``module:name``."""
        if ":" in name:
            return load_object(name, self.sort)
        importlib.import_module(f"{self._package}.{name}")
        return self._entries[name]


@dataclass(frozen=True)
class Component:
    """Marks a field that names a component (``Annotated[str, Component(NORMS)]``).

    A component at an import path enters the identity with its module's source hash.
    """

    variants: Variants

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Accepts the known names and import paths of what can be called."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, name: str) -> str:
        if ":" in name:
            if not callable(load_object(name, self.variants.sort)):
                raise ValueError(f"{name} is no {self.variants.sort}: it cannot be called")
        elif name not in self.variants.names():
            names = " or ".join(repr(each) for each in self.variants.names())
            raise PydanticCustomError(
                "literal_error", "unknown {sort}", {"sort": self.variants.sort, "expected": names}
            )
        return name
