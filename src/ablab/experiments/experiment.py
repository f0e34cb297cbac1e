"""An experiment: a question as variants and runs."""

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ablab.config import InputError, Problem, counted, load_object, ticking
from ablab.experiments.expectations import (
    Expectation,
    check_expectations,
    read_expectations,
)
from ablab.experiments.grid import Axis, Choice, cells, check_key, make_axis, read_grid
from ablab.experiments.header import read_logbook, read_meant, read_name, read_question, read_seeds
from ablab.experiments.identity import digest, run_ids
from ablab.experiments.limits import check_depth, check_runs
from ablab.experiments.overrides import Override, parse_overrides
from ablab.experiments.parts import (
    PARTS,
    TOP_LEVEL,
    Parts,
    check_parts,
    has_key,
    known_keys,
    part_class,
)
from ablab.experiments.parts import suggest_key as suggest
from ablab.experiments.sizes import apply_size
from ablab.experiments.source import read_source
from ablab.experiments.tree import Origins, leaves, put
from ablab.experiments.tree import Path as KeyPath
from ablab.train.run import Run


def variant_label(keys: Mapping[str, Any]) -> str:
    """A cell as ``key=value, …``, or ``base`` if there is no grid."""
    return ", ".join(f"{key}={value}" for key, value in keys.items()) or "base"


@dataclass(frozen=True)
class Variant:
    """One cell of the grid.

    Attributes:
        keys: The keys of the axes with the values of this cell (for bundles, their labels).
        parts: The checked configuration of the cell.
        seeds: The seeds of the experiment.
        stored_ids: For a run that a store has under an earlier id, that id by the run's own.
    """

    keys: dict[str, Any]
    parts: Parts
    seeds: tuple[int, ...]
    stored_ids: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The cell as ``key=value, …``, or ``base`` if there is no grid."""
        return variant_label(self.keys)

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """One run per seed."""
        task, model, train = self.parts.task, self.parts.model, self.parts.train
        watch = self.parts.watch
        runs = []
        ids = run_ids(task, model, train, self.seeds)
        for seed, (own, former, sources) in zip(self.seeds, ids, strict=True):
            known = self.stored_ids.get(own, own)
            run = Run(known, task, model, train, seed, watch.every, watch, former, sources)
            runs.append(run)
        return tuple(runs)

    def model(self, seed: int = 0) -> Any:
        """The model as a ``torch.nn.Module``, with the initial parameters for ``seed``."""
        run = replace(self.runs[0], seed=seed)
        return load_object("ablab.train.stack:initial_model", "model")(run)


@dataclass(frozen=True)
class Experiment:
    """A question with a base configuration, a grid and seeds.

    Attributes:
        name: The name, used for its entry and tables.
        question: The question it asks.
        axes: The axes of the grid, in order.
        variants: The cells of the grid; the last axis changes fastest.
        seeds: The seeds of every variant.
        expectations: What is expected of the results.
        definition: The experiment as plain data; ``experiment(definition)`` returns an equal one.
        meant: Findings of the doctor that are meant, with the reason, by check.
    """

    name: str
    question: str
    axes: tuple[Axis, ...]
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    expectations: tuple[Expectation, ...]
    definition: dict[str, Any]
    meant: dict[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> list[Run]:
        """All runs, grouped by variant."""
        return [run for variant in self.variants for run in variant.runs]

    def known_as(self, stored_ids: Mapping[str, str]) -> "Experiment":
        """The same experiment with the ids that a store has for some of its runs."""
        if not stored_ids:
            return self
        ids = {**self.variants[0].stored_ids, **stored_ids}  # all variants share them
        return replace(self, variants=tuple(replace(v, stored_ids=ids) for v in self.variants))

    @cached_property
    def digest(self) -> str:
        """Identifies an experiment by its definition and its runs.

        The runs are included because a changed corpus or user module gives different runs for
        the same definition. Expectations, the size, the logbook and what is meant are excluded,
        because they do not affect any run.
        """
        excluded = ("expect", "size", "logbook", "meant")
        definition = {k: v for k, v in self.definition.items() if k not in excluded}
        return digest([definition, [run.id for run in self.runs]])

    def __str__(self) -> str:
        grid = " × ".join(f"{axis.key} ({len(axis.choices)})" for axis in self.axes) or "no grid"
        seeds, runs = counted(len(self.seeds), "seed"), counted(len(self.runs), "run")
        return f"{self.name}: {self.question}\n{grid}, {seeds}: {runs}"


def experiment(
    source: str | Path | Mapping[str, Any], *overrides: str, **settings: Any
) -> Experiment:
    """Creates an experiment from the name of a recipe, a YAML file or a mapping.

    Args:
        source: The recipe, file or mapping.
        overrides: Overrides in Hydra's grammar, as on the command line (``"model.d_model=8,16"``).
        settings: Top-level settings by name (``seeds=3``).

    Raises:
        InputError: The experiment is invalid; all problems are listed.
    """
    tree, origins = read_source(source)
    check_depth([tree, list(settings.values())], origins.of(()))
    tree = copy.deepcopy(tree)
    parsed = parse_overrides(overrides)
    _check_top_level(tree, origins)
    apply_size(tree, *_requested_size(parsed, settings), origins)
    axes = read_grid(tree.get("grid") or {}, origins)
    for key, value in settings.items():
        if key == "size":
            continue
        if key not in TOP_LEVEL:
            raise InputError(Problem(f"{key} is not a setting", key, suggestion=suggest(key)))
        put(tree, (key,), value)
        origins.mark((key,), f"argument {key}")
    if "grid" in settings:
        axes = read_grid(tree["grid"], origins)
    axes = _apply(tree, axes, parsed, origins)
    seeds = read_seeds(tree.get("seeds", 1), origins)
    sources = [axis.source for axis in axes] + [origins.of(("seeds",))] * (len(seeds) > 1)
    check_runs({axis.key: len(axis.choices) for axis in axes}, len(seeds), sources)
    variants = _variants(tree, axes, seeds, origins)
    name = read_name(tree.get("name"), origins)
    question = read_question(tree.get("question"), origins)
    meant = read_meant(tree.get("meant"), origins)
    expectations = read_expectations(tree.get("expect"), origins.of(("expect",)))
    check_expectations(expectations, [axis.key for axis in axes], origins.of(("expect",)))
    return Experiment(
        name,
        question,
        tuple(axes),
        variants,
        seeds,
        expectations,
        {
            "name": name,
            "question": question,
            **read_logbook(tree, origins),
            **{key: tree[key] for key in ("size",) if key in tree},
            **{part: tree[part] for part in PARTS if part in tree},
            "grid": {axis.key: _axis_data(axis) for axis in axes},
            "seeds": list(seeds),
            **({"expect": [each.as_data() for each in expectations]} if expectations else {}),
            **({"meant": meant} if meant else {}),
        },
        meant,
    )


def _requested_size(
    overrides: list[Override], settings: Mapping[str, Any]
) -> tuple[Any, str | None]:
    """The requested size and its source; removes it from the overrides."""
    for override in overrides:
        if override.key == "size":
            overrides.remove(override)
            return override.value, override.source
    return settings.get("size"), "argument size"


def _check_top_level(tree: Mapping[str, Any], origins: Origins) -> None:
    """Rejects unknown top-level keys, and reports problems of the parts together with them."""
    problems = [
        Problem(
            f"{key} is not a setting",
            key,
            origins.of((key,)),
            suggestion=suggest(key, [*TOP_LEVEL, *known_keys()]),
        )
        for key in tree
        if key not in TOP_LEVEL
    ]
    if problems:
        try:
            check_parts(tree, origins)
        except InputError as error:
            problems += error.problems
        raise InputError(*problems)


def _apply(
    tree: dict[str, Any], axes: list[Axis], overrides: list[Override], origins: Origins
) -> list[Axis]:
    """Applies overrides to the tree, kinds first; returns the axes, including overridden ones."""
    by_key = {axis.key: axis for axis in axes}
    for override in sorted(overrides, key=lambda override: not _is_kind(override.key)):
        key, source = override.key, override.source
        if key in by_key and key.split(".")[0] not in TOP_LEVEL:
            by_key[key] = _chosen(by_key[key], override)
            continue
        if key.split(".", maxsplit=1)[0] == "expect":
            expected = "expectations in the file of the experiment, or ablab expect"
            raise InputError(Problem("expect cannot be overridden", key, source, expected=expected))
        if key in ("name", "question", "logbook", "seeds"):
            if override.is_axis:
                check_key(key, source)
            tree[key] = override.value
            origins.mark((key,), source)
            continue
        path = check_key(key, source)
        value = {} if override.is_axis else override.value
        named = [(*path, *inner) for inner, _ in leaves(value)] if isinstance(value, dict) else []
        order = list(by_key)
        for touched in named or [path]:
            by_key = {
                name: _without(axis, touched, override)
                for name, axis in by_key.items()
                if tuple(name.split("."))[: len(touched)] != touched
            }
        if override.is_axis:
            by_key[key] = make_axis(key, override.value, source)
            if key in order:  # keep its position
                by_key = {name: by_key[name] for name in order if name in by_key}
        origins.mark(path, source)
        if not override.is_axis:
            _assign(tree, path, override.value, origins)
    return list(by_key.values())


def _chosen(axis: Axis, override: Override) -> Axis:
    """An axis of bundles, restricted to those that an override names."""
    values = override.value if override.is_axis else [override.value]
    wanted = [str(value) for value in values]
    labels = [str(choice.label) for choice in axis.choices]
    for label in wanted:
        if label not in labels:
            raise InputError(
                Problem(
                    f"the axis {axis.key} has no bundle {label!r}",
                    axis.key,
                    override.source,
                    expected="one of " + ", ".join(labels),
                    suggestion=suggest(label, labels),
                )
            )
    return Axis(
        axis.key,
        tuple(choice for choice in axis.choices if str(choice.label) in wanted),
        axis.source,
    )


def _without(axis: Axis, path: KeyPath, override: Override) -> Axis:
    """An axis without the setting that an override sets, since overrides take precedence.

    Raises:
        InputError: The values of the axis are mappings that contain the setting.
    """
    if axis.key.split(".")[0] in TOP_LEVEL:
        own = tuple(axis.key.split("."))
        if path[: len(own)] == own and len(path) > len(own):
            raise InputError(
                Problem(
                    f"the axis {axis.key} of the grid also sets {'.'.join(path)}",
                    override.key,
                    override.source,
                    expected=f"an override of the complete axis, {axis.key}=…",
                )
            )
        return axis
    return Axis(
        axis.key,
        tuple(
            Choice(
                choice.label,
                tuple((p, v) for p, v in choice.assignments if p[: len(path)] != path),
            )
            for choice in axis.choices
        ),
        axis.source,
    )


def _variants(
    tree: dict[str, Any], axes: list[Axis], seeds: tuple[int, ...], origins: Origins
) -> tuple[Variant, ...]:
    variants = []
    ids: dict[str, str] = {}
    where = _with_axes(origins, axes)
    checker = _CellChecker(tree, axes, where)
    total = math.prod(len(axis.choices) for axis in axes)
    for cell in ticking(cells(axes), total, "checking", "variant"):
        keys = {axis.key: choice.label for axis, choice in zip(axes, cell, strict=True)}
        try:
            variant = Variant(keys, checker.check(cell), seeds)
        except InputError as error:
            touched = [".".join(path) for choice in cell for path, _ in choice.assignments]
            raise InputError(
                *(_in_cell(problem, keys, touched) for problem in error.problems)
            ) from error
        first = variant.runs[0].id
        if first in ids:
            raise InputError(
                Problem(
                    f"two cells of the grid are the same run: {ids[first]} and {variant.label}",
                    "grid",
                    expected="axes that affect training; the number of steps, evaluation, "
                    "snapshots and stop rules do not",
                )
            )
        ids[first] = variant.label
        variants.append(variant)
    return tuple(variants)


def _with_axes(origins: Origins, axes: list[Axis]) -> Origins:
    """The sources of values, with those of the axes; they are the same for every cell."""
    where = copy.deepcopy(origins)
    for axis in axes:
        if axis.source is not None:
            paths = (path for choice in axis.choices for path, _ in choice.assignments)
            for path in dict.fromkeys(paths):
                where.mark(path, axis.source)
    return where


class _CellChecker:
    """Checks the cells of a grid; what several cells have in common is checked once.

    Args:
        tree: The experiment's tree, without the settings of its cells.
        axes: The axes of the grid.
        origins: The sources of all values.
    """

    def __init__(self, tree: dict[str, Any], axes: list[Axis], origins: Origins) -> None:
        self._parts = {part: tree[part] for part in PARTS if part in tree}
        self._origins = origins
        self._touched = [
            {path[0] for choice in axis.choices for path, _ in choice.assignments} for axis in axes
        ]
        for touched in self._touched:
            if "task" in touched:  # epochs and full batches depend on the task
                touched.add("train")
        self._checked: dict[tuple[Any, ...], Any] = {}

    def check(self, cell: tuple[Choice, ...]) -> Parts:
        """The checked configuration of a cell."""
        names = {part: (part, *(id(choice) for choice in self._of(part, cell))) for part in PARTS}
        known = {part: self._checked[key] for part, key in names.items() if key in self._checked}
        here = {
            part: data if part in known else copy.deepcopy(data)
            for part, data in self._parts.items()
        }
        assignments = [each for choice in cell for each in choice.assignments]
        for path, value in sorted(assignments, key=lambda each: not _is_kind(".".join(each[0]))):
            if path[0] not in known:
                _assign(here, path, value, self._origins)
        parts = check_parts(here, self._origins, known)
        self._checked |= {names[part]: getattr(parts, part) for part in PARTS}
        return parts

    def _of(self, part: str, cell: tuple[Choice, ...]) -> Iterator[Choice]:
        """The choices of a cell that can change a part."""
        return (
            choice for choice, touched in zip(cell, self._touched, strict=True) if part in touched
        )


def _in_cell(problem: Problem, keys: dict[str, Any], touched: list[str]) -> Problem:
    """The problem, with the cell in its message if it is about a setting of the cell."""
    own = f"{problem.key}."
    if not any(f"{key}.".startswith(own) or own.startswith(f"{key}.") for key in touched):
        return problem
    cell = ", ".join(f"{key}={value}" for key, value in keys.items())
    return replace(problem, message=f"{problem.message} (in the cell {cell})")


def _assign(tree: dict[str, Any], path: KeyPath, value: Any, origins: Origins) -> None:
    """Sets a value; if the kind of a part changes, drops settings that the new kind lacks."""
    part = path[0]
    before = _kind(tree, part)
    put(tree, path, value)
    if len(path) == 1 and isinstance(tree[part], str):
        tree[part] = {"kind": tree[part]}
    if not isinstance(tree[part], dict):
        return  # reported later, when the parts are checked
    if part in ("task", "model") and before is not None and _kind(tree, part) != before:
        given = set(value) if len(path) == 1 and isinstance(value, Mapping) else set()
        cls = part_class(part, tree[part], origins)
        tree[part] = {
            key: inner for key, inner in tree[part].items() if key in given or has_key(cls, (key,))
        }


def _kind(tree: Mapping[str, Any], part: str) -> str | None:
    data = tree.get(part)
    if isinstance(data, str):
        return data
    if not isinstance(data, Mapping):
        return None
    kind = data.get("kind", "transformer" if part == "model" else None)
    return kind if isinstance(kind, str) else None


def _is_kind(key: str) -> bool:
    return key in ("task", "model", "task.kind", "model.kind")


def _axis_data(axis: Axis) -> Any:
    if axis.key.split(".")[0] in TOP_LEVEL:
        return [choice.label for choice in axis.choices]
    return {
        choice.label: {".".join(path): value for path, value in choice.assignments}
        for choice in axis.choices
    }
