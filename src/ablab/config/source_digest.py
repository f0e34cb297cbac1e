"""What a user's code is known by: the digest of the syntax trees of the files that define it.

A component's files are those of the module that its import path names, and of the modules that
define the object: its class, or what a ``functools.partial`` or a decorator wraps. Each comes with
what it imports from beside it (:mod:`ablab.config.local_imports`).
"""

import functools
import hashlib
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ablab.config.archived_modules import public_name
from ablab.config.errors import InputError, Problem
from ablab.config.local_imports import SourceFile, is_installed, local_files
from ablab.config.registry import import_component, load_object

_EDITION = b"ablab source 1\n"
_seen: dict[str, tuple[Any, list[SourceFile]]] = {}  # by module: its import, and its files then


class SourceDigest(str):
    """A digest of source, as 64 hexadecimal digits.

    Attributes:
        former: What the same source was known by when a digest was one of whole files; None where
            that was the digest of another module.
        roots: The names of the modules from which the files were found.
        files: The files.
    """

    former: str | None
    roots: tuple[str, ...]
    files: tuple[SourceFile, ...]


def component_source(path: str, key: str, *classes: type) -> SourceDigest:
    """The digest of a component's source, as it was when it was imported.

    Args:
        path: The import path.
        key: The setting that it was given for, for errors.
        classes: Further classes that belong to it, such as its settings.

    Raises:
        InputError: It cannot be imported, or has no source file.
    """
    named = import_component(path.partition(":")[0], path, key)
    return _digest([load_object(path, key), *classes], named)


def source_digest(*components: Any) -> SourceDigest:
    """The digest of the source of classes, functions and other callable objects.

    Raises:
        InputError: One has no source file.
    """
    return _digest(components, None)


def digest_of(files: Mapping[str, str]) -> str:
    """The digest of a component, from the digests of its files by the names of their modules."""
    digest = hashlib.sha256(_EDITION)
    for module, each in sorted(files.items()):
        digest.update(f"{module} {each}\n".encode())
    return digest.hexdigest()


def found_sources(data: Any) -> Iterator[SourceDigest]:
    """All digests of source within plain data, such as the trajectory of a run."""
    if isinstance(data, SourceDigest):
        yield data
    elif isinstance(data, dict):
        for value in data.values():
            yield from found_sources(value)
    elif isinstance(data, list):
        for value in data:
            yield from found_sources(value)


def changed_since_import(digest: SourceDigest) -> list[Path]:
    """The files of a component that have other code now than when they were imported."""
    changed = []
    for file in digest.files:
        try:
            content = file.path.read_bytes()
        except OSError:
            continue
        if content != file.content:
            now = SourceFile(file.module, file.path, content)
            changed += [file.path] if now.digest != file.digest else []
    return changed


def _digest(components: Sequence[Any], named: ModuleType | None) -> SourceDigest:
    defining = [module for each in components for module in _defining(each)]
    if named is not None and _adds_to(named, components[0]):
        defining.insert(0, named)
    # What NUMERICS_VERSION stands for does not count, unless it is all there is.
    others = [each for each in defining if not public_name(each.__name__).startswith("ablab.")]
    roots = {public_name(each.__name__): each for each in others or defining[:1]}
    files: dict[str, SourceFile] = {}
    for module in roots.values():
        files |= {file.module: file for file in _files(module)}
    result = SourceDigest(digest_of({name: file.digest for name, file in files.items()}))
    result.former = _former(components)
    result.roots = tuple(roots)
    result.files = tuple(sorted(files.values(), key=lambda file: file.module))
    return result


def _adds_to(named: ModuleType, component: Any) -> bool:
    """Whether the module that an import path names can change the object that it names.

    A package that is installed only passes on the classes and functions of its modules.
    """
    plain = inspect.isroutine(component) or inspect.isclass(component)
    return not (plain and is_installed(public_name(named.__name__), _file(named)))


def _defining(component: Any) -> Iterator[ModuleType]:
    """The modules that define an object and everything that it wraps, outermost first."""
    seen: list[Any] = []
    while component is not None and not any(component is each for each in seen):
        seen.append(component)
        if isinstance(component, functools.partial):
            component = component.func
            continue
        if inspect.ismethod(component):
            component = component.__self__
            continue
        plain = inspect.isroutine(component) or inspect.isclass(component)
        owner = component if plain else type(component)
        module = sys.modules.get(owner.__module__ or "")
        if module is None:
            raise InputError(
                f"{component!r} has no module, which is needed to identify its runs; "
                "wrap it in a function or class of your own module"
            )
        yield module
        component = getattr(component, "__wrapped__", None)


def _file(module: ModuleType) -> Path:
    file = getattr(module, "__file__", None)
    if file is None:
        raise InputError(
            f"module {module.__name__} has no source file, which is needed to identify its runs"
        )
    return Path(file)


def _files(module: ModuleType) -> list[SourceFile]:
    """A module's files as they were when it was imported: later edits do not run."""
    imported = module.__spec__ or module  # a reload makes a new spec
    known = _seen.get(module.__name__)
    if known is None or known[0] is not imported:
        found = local_files(public_name(module.__name__), _file(module))
        _seen[module.__name__] = known = (imported, found)
    return known[1]


def _former(components: Sequence[Any]) -> str | None:
    """The digest by which earlier releases knew these components."""
    digest = hashlib.sha256()
    names: dict[str, ModuleType] = {}
    for component in components:
        name = component.__module__
        module = next(_defining(component), None)
        if module is None or module.__name__ != name:  # of the wrong module: functools, a wrapper
            return None
        names[name] = module
    for module in names.values():
        known = _files(module)
        path = _file(module)
        digest.update(next(file.content for file in known if file.path == path))
    return digest.hexdigest()


def check_sources(digests: Iterable[SourceDigest]) -> None:
    """Checks that what would be trained is what the files say.

    Raises:
        InputError: A file has changed since it was imported, so that its runs would have the id
            of other code.
    """
    changed = {path: None for digest in digests for path in changed_since_import(digest)}
    if changed:
        names = ", ".join(path.name for path in changed)
        raise InputError(
            Problem(
                f"{names} has changed since it was imported, and Python still has the old code",
                given=", ".join(map(str, changed)),
                expected="a new Python process (in a notebook: restart the kernel)",
            )
        )
