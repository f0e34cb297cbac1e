"""Several experiments side by side: their variants, and the settings that differ between them.

Settings are those that were stored with the runs, so that no module of a definition is imported.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablab.config import InputError, Problem, nearest
from ablab.experiments.short_names import differing_keys, short_names
from ablab.experiments.tree import leaves
from ablab.read.measures import ENDED
from ablab.store.index import StoreError
from ablab.store.metrics import experiment_runs
from ablab.store.store import ExperimentRecord, RunRecord, Store

_NAMED = 5  # with more differing settings, a variant is named after its own experiment's grid
_NOT_SETTINGS = ("seed", "numerics", "roles")
_OF_TRAINING = ("stop", "evaluate")  # settings that do not affect the steps of a run
_NOT_IN_NAMES = ("train.steps", *(f"train.{each}" for each in _OF_TRAINING))


@dataclass(frozen=True)
class Member:
    """One of the experiments.

    Attributes:
        store: Its store.
        record: The experiment.
        runs: Its runs, up to the experiment's own number of steps.
        name: What it is called; no other member has this name.
    """

    store: Store
    record: ExperimentRecord
    runs: list[RunRecord]
    name: str


@dataclass(frozen=True)
class JointVariant:
    """A variant of one of the experiments.

    Attributes:
        member: The place of its experiment.
        runs: Its runs.
        settings: All its settings, as dotted keys.
        name: What sets it apart from the variants of all experiments.
    """

    member: int
    runs: list[RunRecord]
    settings: dict[str, Any]
    name: str


@dataclass(frozen=True)
class SideBySide:
    """Experiments with their variants.

    Attributes:
        members: The experiments.
        variants: Their variants, in the order of the experiments and of their grids.
        within: The settings that vary within an experiment.
        between: The settings that have one value in each experiment, and not the same in all.
    """

    members: list[Member]
    variants: list[JointVariant]
    within: list[str]
    between: list[str]

    def of(self, member: int) -> list[JointVariant]:
        """The variants of an experiment."""
        return [each for each in self.variants if each.member == member]

    @property
    def naming(self) -> list[str]:
        """The fewest settings that vary within an experiment and determine all others that do."""
        return independent([each.settings for each in self.variants], self.within)

    @property
    def shared_runs(self) -> int:
        """The number of runs that belong to more than one of the experiments."""
        runs = [run.run for each in self.variants for run in each.runs]
        return len(runs) - len(set(runs))


def find_members(stores: Sequence[Store], names: Sequence[str]) -> list[Member]:
    """Finds experiments by name, or by the name of an entry's folder, in the first store with it.

    Raises:
        InputError: A name is unknown, an experiment is named twice, or none of its runs has ended.
    """
    found: list[tuple[Store, ExperimentRecord]] = []
    for name in names:
        store, record = _find(stores, name)
        if any((store.path, record.id) == (other.path, each.id) for other, each in found):
            raise InputError(
                Problem("the same experiment was given twice", given=name,
                        expected="different experiments")
            )  # fmt: skip
        found.append((store, record))
    titles = _titles(found)
    members = [
        Member(store, record, experiment_runs(store, record), title)
        for (store, record), title in zip(found, titles, strict=True)
    ]
    for member in members:
        if not any(run.status in ENDED for run in member.runs):
            raise InputError(
                Problem(f"no run of {member.name} has ended, so there is nothing to compare",
                        given=member.name, expected="an experiment with finished runs")
            )  # fmt: skip
    return members


def side_by_side(members: Sequence[Member]) -> SideBySide:
    """The variants of experiments, and the settings that differ.

    A setting that no definition mentions counts only if it is not determined by those that one
    does: ``model.d_mlp`` follows ``model.d_model`` unless it was set.
    """
    drafts = [
        (place, group, settings_of_run(member.store, member.record, group[0]))
        for place, member in enumerate(members)
        for group in _groups(member.runs)
    ]
    cells = [settings for *_, settings in drafts]
    differing = sorted(differing_keys(cells), key=_order)
    given = [key for key in differing if any(_is_given(each.record, key) for each in members)]
    rest = [key for key in differing if key not in given]
    derived = independent(cells, [*given, *rest])
    relevant = [*given, *(key for key in rest if key in derived)]
    within = [
        key
        for key in relevant
        if any(
            len({repr(cell.get(key)) for place, _, cell in drafts if place == member}) > 1
            for member in range(len(members))
        )
    ]
    between = [key for key in relevant if key not in within]
    names = _variant_names(members, drafts, within, between)
    variants = [
        JointVariant(place, group, settings, name)
        for (place, group, settings), name in zip(drafts, names, strict=True)
    ]
    return SideBySide(list(members), variants, within, between)


def independent(cells: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[str]:
    """The keys, in order, without those whose values follow from the keys before them."""
    chosen: list[str] = []
    for key in keys:
        seen: dict[tuple[str, ...], str] = {}
        for cell in cells:
            value = repr(cell.get(key))
            if seen.setdefault(tuple(repr(cell.get(each)) for each in chosen), value) != value:
                chosen.append(key)
                break
    return chosen


def settings_of_run(store: Store, record: ExperimentRecord, run: RunRecord) -> dict[str, Any]:
    """The settings of a run within an experiment, as dotted keys; without the seed.

    These are the settings that were stored with the run, the number of steps, and the experiment's
    stop rule and evaluation.
    """
    tree = json.loads(store.run_row(run.run)["trajectory"])
    found = {".".join(path): value for path, value in leaves(tree) if path[0] not in _NOT_SETTINGS}
    found["train.steps"] = run.steps
    training = record.definition.get("train")
    if isinstance(training, Mapping):
        for part in _OF_TRAINING:
            given = {part: training[part]} if part in training else {}
            found |= {f"train.{'.'.join(path)}": value for path, value in leaves(given)}
    return found


def _find(stores: Sequence[Store], name: str) -> tuple[Store, ExperimentRecord]:
    for store in stores:
        if any(name in (each.name, each.entry) for each in store.experiments()):
            return store, store.experiment(name)
    names = sorted({each.name for store in stores for each in store.experiments()})
    raise StoreError(
        Problem(
            f"no experiment called {name!r} in {', '.join(str(each.path) for each in stores)}",
            given=name,
            expected="one of " + ", ".join(names) if names else "a store with experiments",
            suggestion=nearest(name, names),
        )
    )


def _titles(found: Sequence[tuple[Store, ExperimentRecord]]) -> list[str]:
    """Names of experiments, made unique by their entries or by their stores."""
    plain = [record.name for _, record in found]
    if len(set(plain)) == len(plain):
        return plain
    entries = [record.entry or record.name for _, record in found]
    if len(set(entries)) == len(entries):
        return entries
    return [f"{record.name} ({store.path} {record.id})" for store, record in found]


def _groups(runs: Sequence[RunRecord]) -> list[list[RunRecord]]:
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(json.dumps(run.variant), []).append(run)
    return list(groups.values())


def _order(key: str) -> int:
    """Settings of the task come first, then those of the model and of training."""
    parts = ("task", "model", "train")
    return next((place for place, part in enumerate(parts) if key.startswith(part)), len(parts))


def _is_given(record: ExperimentRecord, key: str) -> bool:
    """Whether a definition mentions a setting, or a group of settings with it."""
    return any(
        f"{key}.".startswith(f"{given}.") or f"{given}.".startswith(f"{key}.")
        for given in _given(record)
    )


def _given(record: ExperimentRecord) -> Iterator[str]:
    parts = {name: record.definition.get(name, {}) for name in ("task", "model", "train")}
    yield from (".".join(path) for path, _ in leaves(parts))
    for key, choices in record.definition["grid"].items():
        if isinstance(choices, Mapping):
            yield from (name for bundle in choices.values() for name in bundle)
        else:
            yield key


def _variant_names(
    members: Sequence[Member],
    drafts: Sequence[tuple[int, list[RunRecord], dict[str, Any]]],
    within: Sequence[str],
    between: Sequence[str],
) -> list[str]:
    """Names by what differs; if that is much, by what differs within the experiments."""
    cells = [settings for *_, settings in drafts]
    naming = independent(cells, within)
    told = [key for key in between if not key.startswith(_NOT_IN_NAMES)]
    for keys in ([*naming, *told], naming):
        if len(keys) <= _NAMED:
            return short_names([_only(cell, keys) for cell in cells])
    return [
        name
        for place in range(len(members))
        for name in short_names([group[0].variant for at, group, _ in drafts if at == place])
    ]


def _only(cell: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: cell[key] for key in sorted(keys, key=_order) if key in cell}
