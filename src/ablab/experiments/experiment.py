"""An experiment: a question as variants and runs."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ablab.config import InputError, Problem, counted, ticking
from ablab.config.shown import Displayed, Shown
from ablab.experiments.axes import Axis, SweepContext
from ablab.experiments.cell_checker import CellChecker, with_axes
from ablab.experiments.cell_settings import CellSettings
from ablab.experiments.expectation_checks import check_expectations, check_levels
from ablab.experiments.expectations import (
    Expectation,
    read_expectations,
)
from ablab.experiments.grid import IDLE, INACTIVE
from ablab.experiments.grid_changes import apply_changes, change_grid, keys_set
from ablab.experiments.grid_conditions import Stage, check_conditions
from ablab.experiments.grid_data import grid_data
from ablab.experiments.grid_overrides import apply_blocks, apply_overrides
from ablab.experiments.grid_reader import read_grid
from ablab.experiments.grid_text import grid_text
from ablab.experiments.halving import check_halving, read_halving
from ablab.experiments.header import (
    read_analyses,
    read_answer,
    read_logbook,
    read_meant,
    read_name,
    read_question,
)
from ablab.experiments.identity import digest
from ablab.experiments.limits import MAX_RUNS, check_depth, check_runs
from ablab.experiments.made_by import restore
from ablab.experiments.outline import Outline, trained_part
from ablab.experiments.overrides import Override, parse_overrides
from ablab.experiments.parts import PARTS, TOP_LEVEL, check_without_data
from ablab.experiments.plain_numbers import plain_numbers
from ablab.experiments.seeds import Settling, read_seeds, settling_of
from ablab.experiments.setting_keys import known_keys
from ablab.experiments.setting_keys import suggest_key as suggest
from ablab.experiments.shown_experiment import shown_experiment
from ablab.experiments.sizes import apply_size
from ablab.experiments.source import read_source
from ablab.experiments.stages import earlier_stages
from ablab.experiments.tree import Origins, plain
from ablab.experiments.tuned_cells import discard_tuned, tuning_data, with_tuned
from ablab.experiments.tuning import tuning_of, tuning_text
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


@dataclass(frozen=True, repr=False)
class Experiment(Displayed):
    """A question with a base configuration, a grid and seeds.

    Attributes:
        name: The name, used for its entry and tables.
        question: The question it asks.
        axes: The axes of the grid, in order.
        variants: The cells of the grid; the last axis changes fastest.
        seeds: The seeds of every variant; if more are added (``settling``), those it begins with.
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
        check_halving(self)
        found: dict[str, Variant] = {}
        total = len(self.variants)
        for variant in ticking(self.variants, total, "identifying the runs of", "variant"):
            first = variant.runs[0].id
            if first in found:
                raise InputError(self._same_run(found[first], variant))
            found[first] = variant
        return {first: variant.label for first, variant in found.items()}

    def _same_run(self, one: Variant, other: Variant) -> Problem:
        reduced = {
            source: None
            for axis in self.axes
            if one.keys[axis.key] != other.keys[axis.key]
            for source in axis.reduced_by
        }
        expected = (
            "axes that affect training; the number of steps, evaluation, snapshots and stop rules "
            "do not"
        )
        if reduced:
            verb = "replaces" if len(reduced) == 1 else "replace"
            expected += f"; {', '.join(reduced)} {verb} settings in which the bundles differ"
        message = f"two cells of the grid are the same run: {one.label} and {other.label}"
        return Problem(message, "grid", expected=expected)

    def recorded_keys(self, variant: Variant) -> dict[str, Any]:
        """The keys of a variant as a store records them: null where a key does not vary.

        A column of numbers is one of numbers then. If null is one of the key's values, it is the
        text ``inactive`` there, too. A key that has this text as a value varies everywhere.
        """
        textual = {
            axis.key
            for axis in self.axes
            if any(each.label is None or each.label == INACTIVE for each in axis.choices)
        }
        return {
            key: None if value == INACTIVE and key not in textual else value
            for key, value in variant.keys.items()
        }

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
        the same definition; of seeds that are added, only the first are. The answer's measure,
        expectations, the size, the logbook and what is meant are excluded, because they do not
        affect any run.
        """
        first = len(self.seeds)
        runs = [run.id for each in self.resolve().variants for run in each.runs[:first]]
        return digest([trained_part(self.definition), runs])

    @property
    def settling(self) -> Settling | None:
        """How seeds are added until the questions are settled; None if they are fixed."""
        return settling_of(self.definition)

    def with_seeds(self, counts: Mapping[int, int]) -> "Experiment":
        """The same experiment with more seeds of some variants.

        Args:
            counts: The number of seeds, by the place of the variant; others keep theirs.
        """
        variants = list(self.variants)
        for place, count in counts.items():
            variants[place] = replace(variants[place], seeds=tuple(range(count)))
        return replace(self, variants=tuple(variants))

    @property
    def heading(self) -> str:
        """The name, with the question if there is one."""
        return f"{self.name}: {self.question}" if self.question else self.name

    def shown(self) -> Shown:
        """The question, the size of the grid, its axes and what is expected."""
        return shown_experiment(str(self), self.axes, self.expectations, self.definition)

    def __str__(self) -> str:
        grid = grid_text(self.axes, [variant.keys for variant in self.variants])
        seeds = counted(len(self.seeds), "seed")
        runs = counted(len(self.seeds) * len(self.variants), "run")
        if self.settling is not None:
            most = self.settling.last * len(self.variants)
            seeds = f"{self.settling.first} to {self.settling.last} seeds"
            runs = f"{len(self.seeds) * len(self.variants):,} to {counted(most, 'run')}"
        tuned = tuning_text(tuning_of(self.definition), len(self.variants))
        return f"{self.heading}\n{grid}, {seeds}: {runs}{tuned}"


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
    tree, settings = plain_numbers(copy.deepcopy(tree)), plain_numbers(settings)
    unknown = _unknown_keys(tree, origins)
    if unknown:
        try:
            check_without_data(tree, origins)
        except InputError as error:
            unknown += error.problems
        raise InputError(*unknown)
    found = _outline(tree, origins, overrides, settings)
    variants = _variants(tree, found, origins)
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
    tree, settings = plain_numbers(copy.deepcopy(tree)), plain_numbers(settings)
    unknown = _unknown_keys(tree, origins)
    if unknown:
        raise InputError(*unknown)
    return _outline(tree, origins, (), settings)


def _outline(
    tree: dict[str, Any], origins: Origins, overrides: Sequence[str], settings: Mapping[str, Any]
) -> Outline:
    """The outline of an experiment; applies overrides and settings to its tree."""
    parsed = parse_overrides(overrides)
    if settings.get("cells") is not None:
        tree.pop("made_by", None)  # it made other cells
    restore(tree, origins)
    before = copy.deepcopy(tree)
    pending, decided = apply_size(tree, *_requested_size(parsed, settings), origins)
    arguments = []
    for key, value in settings.items():
        if key == "size":
            continue
        if key not in TOP_LEVEL:
            raise InputError(Problem(f"{key} is not a setting", key, suggestion=suggest(key)))
        if key == "grid" and isinstance(value, Mapping):
            change_grid(tree, value, "argument grid", origins, pending)
            decided.update(keys_set(key, value))
            continue
        if key in PARTS:  # takes precedence over the grid, as an override does
            origin = f"argument {key}"
            arguments.append(Override(origin, key, value, is_axis=False, origin=origin))
            continue
        tree[key] = plain(value)  # in place of what the file says, as an override
        origins.mark((key,), f"argument {key}")
    parsed = [*arguments, *parsed]
    for each in parsed:
        decided.update(keys_set(each.key, None if each.is_axis else each.value))
    discard_tuned(tree, [*settings, *(each.key for each in parsed)])
    parsed = apply_blocks(tree, parsed, origins, pending)
    context = SweepContext(_draws_name(tree, parsed), tree)
    grid = read_grid(tree.get("grid") or {}, tree.get("cells"), origins, context)
    grid = apply_changes(grid, pending, context)
    grid = apply_overrides(tree, grid, parsed, origins, context.name)
    seeds, settling = read_seeds(tree.get("seeds", 1), origins)
    most = len(seeds) if settling is None else settling.last
    sources = [axis.source for axis in grid.axes] + [origins.of(("seeds",))] * (most > 1)
    check_runs(grid.size(MAX_RUNS), grid.sizes(), most, sources)
    stage = Stage(grid, CellSettings(tree, grid.axes))
    cells = stage.cells
    check_conditions(stage, lambda: earlier_stages(before), decided, origins)
    axes = grid.reduced(cells)
    meant = read_meant(tree.get("meant"), origins)
    name = read_name(tree.get("name"), origins)
    question = read_question(tree.get("question"), origins)
    expectations = read_expectations(tree.get("expect"), origins.of(("expect",)))
    check_expectations(expectations, [axis.key for axis in axes], origins.of(("expect",)))
    definition = {
        "name": name,
        "question": question,
        **read_logbook(tree, origins),
        **read_answer(tree.get("answer"), origins),
        **read_analyses(tree.get("analyze"), origins),
        **read_halving(tree.get("halving"), origins),
        **{key: tree[key] for key in ("size",) if key in tree},
        **{part: tree[part] for part in PARTS if part in tree},
        **grid_data(tree, grid, axes, cells),
        **tuning_data(tree, axes, cells, context, origins),
        "seeds": list(seeds) if settling is None else settling.as_data(),
        **({"expect": [each.as_data() for each in expectations]} if expectations else {}),
        **({"meant": meant} if meant else {}),
    }
    return Outline(name, question, axes, tuple(cells), seeds, expectations, definition, meant)


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


def _variants(tree: dict[str, Any], found: Outline, origins: Origins) -> tuple[Variant, ...]:
    axes, cells = with_tuned(tree, found.definition, found.axes, found.cells, origins)
    checker = CellChecker(tree, axes, with_axes(origins, axes))
    return tuple(
        checker.variant(
            {axis.key: cell.get(axis.key, IDLE).label for axis in found.axes},
            tuple(cell.get(axis.key, IDLE) for axis in axes),
            found.seeds,
        )
        for cell in ticking(cells, len(cells), "checking", "variant")
    )


def _draws_name(tree: Mapping[str, Any], overrides: Sequence[Override]) -> str:
    """The name of the experiment, from which the values of sweeps are drawn."""
    named = [each.value for each in overrides if each.key == "name"]
    return str(named[0] if named else tree.get("name"))
