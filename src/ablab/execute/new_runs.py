"""Why runs of an experiment are new, in one line: what differs from the stored ones."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ablab.config import SourceDigest
from ablab.experiments.experiment import Experiment
from ablab.experiments.identity import trajectory
from ablab.experiments.parts import PARTS
from ablab.experiments.tree import leaves
from ablab.store.known_runs import EarlierRun, earlier_runs, unknown_runs
from ablab.store.sources import archived_source, sources_in
from ablab.store.store import Store
from ablab.train.run import Run

_SAMPLED = 50  # of the new runs, which are compared with …
_EARLIER = 500  # … the latest stored ones
_REASONS = 3  # that are named
_VALUES = 4  # of a setting that are named
_SOURCE = "source of "  # before the import path of a user's component

_Shape = dict[str, Any]  # a trajectory by dotted keys


@dataclass
class _Group:
    """New runs that differ from stored ones in the same settings.

    Attributes:
        keys: The settings.
        like: A stored run that one of them is most similar to.
        before: That run's settings.
        runs: The settings of the new runs.
    """

    keys: tuple[str, ...]
    like: EarlierRun
    before: _Shape
    runs: list[_Shape] = field(default_factory=list)


def why_new(asked: Experiment, store: Store) -> str | None:
    """One line on the runs of an experiment that a store does not have.

    Each is compared with the most similar of the stored runs of experiments with the same name.

    Returns:
        The line; None if all runs are known, or if there is nothing to compare them with.
    """
    new = unknown_runs(store, asked.runs)
    earlier = earlier_runs(store, asked, _EARLIER) if new else []
    if not earlier:
        return None
    stored = [(each, _flat(each.trajectory)) for each in earlier]
    groups: dict[tuple[str, ...], _Group] = {}
    for run in new[:: -(-len(new) // _SAMPLED)]:
        own = _flat(trajectory(run.task, run.model, run.train, run.seed))
        keys, like, before = _nearest(store, run, own, stored)
        groups.setdefault(keys, _Group(keys, like, before)).runs.append(own)
    largest = sorted(groups.values(), key=lambda group: -len(group.runs))
    varied = _varied([shape for _, shape in stored])
    definitions = [each.definition for each in store.experiments() if each.name == asked.name]
    given = {key for each in (asked.definition, *definitions) for key in _given(each)}
    reasons = [_reason(store, group, varied, given) for group in largest[:_REASONS]]
    more = "; …" if len(groups) > _REASONS else ""
    verb = "run is" if len(asked.runs) == 1 else "runs are"
    return f"{len(new):,} of {len(asked.runs):,} {verb} new: {'; '.join(reasons)}{more}"


def _flat(shape: dict[str, Any]) -> _Shape:
    """A trajectory by dotted keys; the source of a component has a key with its import path."""
    sources = {f"{_SOURCE}{path}": digest for path, digest in sources_in(shape).items()}
    known = set(sources.values())
    flat = {
        ".".join(path): _without_source(value)
        for path, value in leaves(shape)
        if not (path[-1].endswith("source") and isinstance(value, str) and value in known)
    }
    return flat | sources


def _without_source(value: Any) -> Any:
    """The value; a list without the digests of its components' source."""
    if not isinstance(value, list):
        return value
    return [
        {k: v for k, v in each.items() if k != "source"} if isinstance(each, dict) else each
        for each in value
    ]


def _nearest(
    store: Store, run: Run, own: _Shape, stored: Sequence[tuple[EarlierRun, _Shape]]
) -> tuple[tuple[str, ...], EarlierRun, _Shape]:
    """The stored run that differs in the fewest settings, and these settings."""

    def distance(place: int) -> tuple[int, bool]:
        return len(_different(own, stored[place][1])), stored[place][0].seed != run.seed

    like, before = stored[min(range(len(stored)), key=distance)]
    keys = [key for key in _different(own, before) if _changed_files(store, own, before, key) != []]
    return tuple(keys), like, before


def _different(own: _Shape, before: _Shape) -> list[str]:
    keys = dict.fromkeys((*own, *before))
    return [key for key in keys if own.get(key) != before.get(key)]


def _changed_files(store: Store, own: _Shape, before: _Shape, key: str) -> list[str] | None:
    """The names of the files of a user's component that changed; None for a setting."""
    now, then = own.get(key), before.get(key)
    if not key.startswith(_SOURCE):
        return None
    if not isinstance(now, SourceDigest) or then is None:  # a component of one of them only
        return []
    archived = archived_source(store.path, then) if isinstance(then, str) else None
    if archived is None:  # stored by an earlier release, which knew the defining module's file
        return [] if now.former == then else [_root_file(now)]
    names = [f.path.name for f in now.files if archived.files.get(f.module) != f.digest]
    gone = archived.files.keys() - {file.module for file in now.files}
    return names + sorted(f"{module.rpartition('.')[2]}.py" for module in gone)


def _root_file(digest: SourceDigest) -> str:
    return next(f.path.name for f in digest.files if f.module == digest.roots[0])


def _varied(shapes: Sequence[_Shape]) -> set[str]:
    """The settings in which stored runs differ from one another, and the seed."""
    first: _Shape = {}
    varied = {"seed"}
    for shape in shapes:
        for key, value in shape.items():
            if first.setdefault(key, value) != value:
                varied.add(key)
    return varied


def _given(definition: Mapping[str, Any]) -> Iterator[str]:
    """The settings that an experiment gives, by dotted keys; others follow from them."""
    parts = {part: definition[part] for part in PARTS if part in definition}
    yield from (".".join(path) for path, _ in leaves(parts))
    for key, choices in definition["grid"].items():
        bundles = choices.values() if isinstance(choices, Mapping) else [{key: None}]
        yield from (name for bundle in bundles for name in bundle)


def _reason(store: Store, group: _Group, varied: set[str], given: set[str]) -> str:
    """What is new about a group, as a phrase."""
    own = group.runs[0]
    phrases, files = [], []
    asked = any(key in given for key in group.keys)
    for key in group.keys:
        follows = key.split(".")[0] in PARTS and key not in given
        if asked and follows and not isinstance(own.get(key), SourceDigest):
            continue
        changed = _changed_files(store, own, group.before, key)
        values = list(dict.fromkeys(str(run.get(key)) for run in group.runs))
        if changed is not None:
            files += changed
        elif key == "numerics":
            phrases.append("this release computes differently")
        elif key in varied or len(values) > 1:
            shown = ", ".join(values[:_VALUES]) + (", …" if len(values) > _VALUES else "")
            phrases.append(f"{key}={shown} {'is' if len(values) == 1 else 'are'} new")
        else:
            before = group.before.get(key)
            phrases.append(f"{key} changed ({before} → {own.get(key)})")
    if files:
        names = ", ".join(dict.fromkeys(files))
        trained = f"(was trained as {group.like.run} on {group.like.created[:10]})"
        phrases.insert(0, f"{names} changed {trained}")
    return " and ".join(phrases) or f"what was imported has changed since {group.like.run}"
