"""An experiment: a question as variants and runs."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ablab.config import InputError, Problem, counted, ticking
from ablab.experiments.assign import assign, is_kind
from ablab.experiments.cell_checker import CellChecker, with_axes
from ablab.experiments.expectation_checks import check_expectations, check_levels
from ablab.experiments.expectations import (
    Expectation,
    read_expectations,
)
from ablab.experiments.grid import Axis, Choice, cells, check_key, make_axis, read_grid
from ablab.experiments.header import (
    read_analyses,
    read_answer,
    read_logbook,
    read_meant,
    read_name,
    read_question,
    read_seeds,
)
from ablab.experiments.identity import digest
from ablab.experiments.limits import check_depth, check_runs
from ablab.experiments.outline import Outline, trained_part
from ablab.experiments.overrides import Override, parse_overrides
from ablab.experiments.parts import (
    PARTS,
    TOP_LEVEL,
    check_without_data,
    known_keys,
)
from ablab.experiments.parts import suggest_key as suggest
from ablab.experiments.sizes import apply_size
from ablab.experiments.source import read_source
from ablab.experiments.tree import Origins, leaves, put
from ablab.experiments.tree import Path as KeyPath
from ablab.experiments.variant import Variant, variant_label
from ablab.train.run import Run

__all__ = [
    "Experiment",
    "Outline",
    "Variant",
    "experiment",
    "outline",
    "variant_label",
]


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
        """All runs, grouped by variant; resolves the experiment."""
        return [run for variant in self.resolve().variants for run in variant.runs]

    def resolve(self) -> "Experiment":
        """Reads the data that tasks name (a corpus, a tokenizer) and checks settings against them.

        Creating an experiment reads no data. What needs them (ids, numbers of steps from epochs,
        models) resolves it; call this to see missing data early.

        Returns:
            The experiment itself.

        Raises:
            InputError: The data are missing, a setting does not fit them, or two cells are the
                same run.
        """
        assert self._ids  # computed once
        return self

    @cached_property
    def _ids(self) -> dict[str, str]:
        """The label of each variant, by the id of its first run."""
        found: dict[str, str] = {}
        total = len(self.variants)
        for variant in ticking(self.variants, total, "identifying the runs of", "variant"):
            first = variant.runs[0].id
            if first in found:
                raise InputError(
                    Problem(
                        f"two cells of the grid are the same run: {found[first]} and "
                        f"{variant.label}",
                        "grid",
                        expected="axes that affect training; the number of steps, evaluation, "
                        "snapshots and stop rules do not",
                    )
                )
            found[first] = variant.label
        return found

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
        the same definition. The answer's measure, expectations, the size, the logbook and what is
        meant are excluded, because they do not affect any run.
        """
        return digest([trained_part(self.definition), [run.id for run in self.runs]])

    def __str__(self) -> str:
        grid = " × ".join(f"{axis.key} ({len(axis.choices)})" for axis in self.axes) or "no grid"
        seeds = counted(len(self.seeds), "seed")
        runs = counted(len(self.seeds) * len(self.variants), "run")
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
        InputError: The experiment is invalid; all problems are listed. Whether a corpus or a
            tokenizer is there is checked by ``resolve()``.
    """
    tree, origins = read_source(source)
    check_depth([tree, list(settings.values())], origins.of(()))
    tree = copy.deepcopy(tree)
    unknown = _unknown_keys(tree, origins)
    if unknown:
        try:
            check_without_data(tree, origins)
        except InputError as error:
            unknown += error.problems
        raise InputError(*unknown)
    found = _outline(tree, origins, overrides, settings)
    variants = _variants(tree, found.axes, found.seeds, origins)
    parts = (variant.parts for variant in variants)
    check_levels(found.expectations, found.definition.get("answer"), parts, origins.of(("expect",)))
    made = Experiment(
        found.name, found.question, found.axes, variants, found.seeds, found.expectations,
        found.definition, found.meant,
    )  # fmt: skip
    return made.resolve() if all(variant.is_resolved for variant in variants) else made


def outline(source: str | Path | Mapping[str, Any], **settings: Any) -> Outline:
    """The outline of an experiment; imports no module and reads no data that it names.

    Args:
        source: The recipe, file or mapping.
        settings: Top-level settings by name (``size="full"``).

    Raises:
        InputError: The name, the grid, the seeds or the expectations are invalid.
    """
    tree, origins = read_source(source)
    check_depth([tree, list(settings.values())], origins.of(()))
    tree = copy.deepcopy(tree)
    unknown = _unknown_keys(tree, origins)
    if unknown:
        raise InputError(*unknown)
    return _outline(tree, origins, (), settings)


def _outline(
    tree: dict[str, Any], origins: Origins, overrides: Sequence[str], settings: Mapping[str, Any]
) -> Outline:
    """The outline of an experiment; applies overrides and settings to its tree."""
    parsed = parse_overrides(overrides)
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
    meant = read_meant(tree.get("meant"), origins)
    name = read_name(tree.get("name"), origins)
    question = read_question(tree.get("question"), origins)
    expectations = read_expectations(tree.get("expect"), origins.of(("expect",)))
    check_expectations(expectations, [axis.key for axis in axes], origins.of(("expect",)))
    return Outline(
        name,
        question,
        tuple(axes),
        seeds,
        expectations,
        {
            "name": name,
            "question": question,
            **read_logbook(tree, origins),
            **read_answer(tree.get("answer"), origins),
            **read_analyses(tree.get("analyze"), origins),
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


def _unknown_keys(tree: dict[str, Any], origins: Origins) -> list[Problem]:
    """A problem for each unknown top-level key."""
    return [
        Problem(
            f"{key} is not a setting",
            key,
            origins.of((key,)),
            suggestion=suggest(key, [*TOP_LEVEL, *known_keys()]),
        )
        for key in tree
        if key not in TOP_LEVEL
    ]


def _apply(
    tree: dict[str, Any], axes: list[Axis], overrides: list[Override], origins: Origins
) -> list[Axis]:
    """Applies overrides to the tree, kinds first; returns the axes, including overridden ones."""
    by_key = {axis.key: axis for axis in axes}
    for override in sorted(overrides, key=lambda override: not is_kind(override.key)):
        key, source = override.key, override.source
        if key in by_key and key.split(".")[0] not in TOP_LEVEL:
            by_key[key] = _chosen(by_key[key], override)
            continue
        if key.split(".", maxsplit=1)[0] == "expect":
            expected = "expectations in the file of the experiment, or ablab expect"
            raise InputError(Problem("expect cannot be overridden", key, source, expected=expected))
        if key in ("name", "question", "answer", "analyze", "logbook", "seeds"):
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
            assign(tree, path, override.value, origins)
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
    tree: dict[str, Any], axes: Sequence[Axis], seeds: tuple[int, ...], origins: Origins
) -> tuple[Variant, ...]:
    checker = CellChecker(tree, axes, with_axes(origins, axes))
    total = math.prod(len(axis.choices) for axis in axes)
    return tuple(
        checker.variant(
            {axis.key: choice.label for axis, choice in zip(axes, cell, strict=True)}, cell, seeds
        )
        for cell in ticking(cells(axes), total, "checking", "variant")
    )


def _axis_data(axis: Axis) -> Any:
    if axis.key.split(".")[0] in TOP_LEVEL:
        return [choice.label for choice in axis.choices]
    return {
        choice.label: {".".join(path): value for path, value in choice.assignments}
        for choice in axis.choices
    }
