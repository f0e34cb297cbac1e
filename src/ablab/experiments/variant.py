"""A variant: one cell of a grid, with its checked configuration and its runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ablab.config import InputError, Problem, load_object
from ablab.config.shown import Displayed, Shown
from ablab.config.wording import counted
from ablab.experiments.identity import run_ids
from ablab.experiments.parts import Parts, check_parts
from ablab.experiments.tree import Origins
from ablab.train.run import Run


def variant_label(keys: Mapping[str, Any]) -> str:
    """A cell as ``key=value, …``, or ``base`` if there is no grid."""
    return ", ".join(f"{key}={value}" for key, value in keys.items()) or "base"


@dataclass(frozen=True)
class Unresolved:
    """The settings of a cell whose configuration depends on data that its task names.

    Attributes:
        tree: The settings.
        keys: The keys of the axes with the values of the cell.
        touched: The settings that the cell changes.
        origins: The sources of the settings.
    """

    tree: dict[str, Any]
    keys: dict[str, Any]
    touched: tuple[str, ...]
    origins: Origins = field(compare=False, repr=False)

    @cached_property
    def parts(self) -> Parts:
        """The configuration; reads the data, the first time."""
        try:
            return check_parts(self.tree, self.origins)
        except InputError as error:
            raise in_cell(error, self.keys, self.touched) from error


@dataclass(frozen=True, repr=False)
class Variant(Displayed):
    """One cell of the grid.

    Attributes:
        keys: The keys of the axes with the values of this cell (for bundles, their labels).
        checked: The checked configuration, or the settings if it depends on data.
        seeds: The seeds of the experiment, and those that were added to this variant.
        stored_ids: For a run that a store has under an earlier id, that id by the run's own.
    """

    keys: dict[str, Any]
    checked: Parts | Unresolved
    seeds: tuple[int, ...]
    stored_ids: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_resolved(self) -> bool:
        """Whether the configuration is known without reading any data."""
        return isinstance(self.checked, Parts) or "parts" in vars(self.checked)

    @property
    def parts(self) -> Parts:
        """The checked configuration; reads the data that it depends on, the first time.

        Raises:
            InputError: The data are missing, or a setting does not fit them.
        """
        return self.checked if isinstance(self.checked, Parts) else self.checked.parts

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

    def shown(self) -> Shown:
        """The cell, and the number of its seeds."""
        return Shown(f"{self.label} ({counted(len(self.seeds), 'seed')})")

    def model(self, seed: int = 0) -> Any:
        """The model as a ``torch.nn.Module``, with the initial parameters for ``seed``."""
        run = replace(self.runs[0], seed=seed)
        return load_object("ablab.train.stack:initial_model", "model")(run)


def in_cell(error: InputError, keys: dict[str, Any], touched: tuple[str, ...]) -> InputError:
    """The error, with the cell in the message of each problem about a setting of the cell."""
    return InputError(*(_problem_in_cell(problem, keys, touched) for problem in error.problems))


def _problem_in_cell(problem: Problem, keys: dict[str, Any], touched: tuple[str, ...]) -> Problem:
    own = f"{problem.key}."
    if not any(f"{key}.".startswith(own) or own.startswith(f"{key}.") for key in touched):
        return problem
    return replace(problem, message=f"{problem.message} (in the cell {variant_label(keys)})")
