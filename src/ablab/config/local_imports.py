"""The source files that make up a user's module: its own, and those that it imports from beside it.

They are found by reading, never by importing. A module counts as beside another if it is in the
folder from which that one's top-level package is imported; the standard library, installed
packages and ablab itself do not count. An import counts wherever it stands in a file. Importing a
module runs the ``__init__`` of its packages, so these belong to it.
"""

import ast
import site
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from pathlib import Path

from ablab.config.syntax import syntax_digest

_SITES = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class SourceFile:
    """A file of a module.

    Attributes:
        module: The module's name.
        path: Where the file is.
        content: Its bytes when it was read.
    """

    module: str
    path: Path
    content: bytes

    @property
    def archived_as(self) -> str:
        """Its path in a folder of archived sources, with slashes."""
        parts = self.module.split(".")
        if self.path.stem == "__init__" and parts[-1] != "__init__":
            parts.append("__init__")
        return "/".join(parts) + self.path.suffix

    @cached_property
    def digest(self) -> str:
        """The digest of its syntax tree."""
        return syntax_digest(self.content)


def local_files(module: str, path: Path) -> list[SourceFile]:
    """A module's file, and those of the modules that it imports from beside it.

    Args:
        module: The module's name.
        path: The module's file.

    Returns:
        The files, sorted by the names of their modules. That of an installed module is alone.
    """
    first = SourceFile(module, path, path.read_bytes())
    root = _root(module, path)
    if root is None or is_installed(module, path):
        return [first]
    found = {module: first}
    waiting = [first, *_files(root, _packages(module))]
    while waiting:
        file = waiting.pop()
        if file.path != path and file.module in found:
            continue
        found[file.module] = file
        wanted = [name for each in _imported(file) for name in (*_packages(each), each)]
        waiting += _files(root, [name for name in wanted if name not in found])
    return sorted(found.values(), key=lambda file: file.module)


def find_module(module: str) -> Path | None:
    """The file that importing a module would run, without importing it or its packages.

    As when a component is imported, the working directory is searched first.
    """
    search: list[str] | None = [str(Path.cwd()), *sys.path]
    spec = None
    for number, _ in enumerate(parts := module.split(".")):
        spec = PathFinder.find_spec(".".join(parts[: number + 1]), search)
        if spec is None:
            return None
        search = list(spec.submodule_search_locations or ())
    known = spec is not None and spec.origin is not None and spec.has_location
    return Path(str(spec.origin)) if known and spec is not None else None


def is_installed(module: str, path: Path) -> bool:
    """Whether a module belongs to ablab, the standard library or an installed package."""
    return (
        module.partition(".")[0] == "ablab"
        or any(part in _SITES for part in path.parts)
        or any(path.is_relative_to(folder) for folder in _installed_folders())
    )


@lru_cache(maxsize=1)
def _installed_folders() -> list[Path]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    found = [sysconfig.get_path(name) for name in names]
    found += [*site.getsitepackages(), site.getusersitepackages()]
    return [Path(each) for each in found if each]


def _root(module: str, path: Path) -> Path | None:
    """The folder from which a module's top-level package is imported; None if names do not fit."""
    parts = module.split(".")
    inside = path.parent if path.stem == "__init__" else path.with_suffix("")
    for part in reversed(parts):
        if module != "__main__" and inside.name.partition(".")[0] != part:
            return None
        inside = inside.parent
    return inside


def _packages(module: str) -> list[str]:
    """The names of the packages around a module, outermost first."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _files(root: Path, modules: list[str]) -> Iterator[SourceFile]:
    """The files of those modules that are beside a module."""
    for module in dict.fromkeys(modules):
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names or top == "ablab":
            continue
        inside = root.joinpath(*module.split("."))
        suffixes = [".py", *EXTENSION_SUFFIXES]
        places = [inside / f"__init__{suffix}" for suffix in suffixes]
        places += [inside.with_name(inside.name + suffix) for suffix in suffixes]
        for place in places:
            if place.is_file() and not is_installed(module, place):
                yield SourceFile(module, place, place.read_bytes())
                break


def _imported(file: SourceFile) -> Iterator[str]:
    """The names of everything that a file imports; some are objects in modules, not modules."""
    try:
        tree = ast.parse(file.content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    package = file.module.split(".")
    if file.path.stem != "__init__":
        package.pop()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level > len(package):
                continue
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)
