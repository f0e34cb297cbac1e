"""Records of stored experiments and runs, made from rows of the index. Does not import torch."""

import json
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from ablab.config import Problem
from ablab.config.shown import Displayed, Shown
from ablab.experiments.inactive import labelled
from ablab.experiments.registration import Registration
from ablab.experiments.seeds import seeds_words
from ablab.experiments.variant import variant_label
from ablab.store.index import StoreError
from ablab.store.scalar_records import ScalarRecords


@dataclass(frozen=True, repr=False)
class ExperimentRecord(Displayed):
    """A stored experiment; times are UTC in ISO 8601.

    What reading needs of it is in ``registration``, which is None if an earlier release registered
    the experiment; requesting it again adds it. ``scalars`` has what the store's analyses declare
    of their scalars.
    """

    id: int
    name: str
    question: str
    definition: dict[str, Any]
    command: str
    environment: dict[str, Any]
    levels: dict[str, float]
    created: str
    entry: str | None
    registration: Registration | None = None
    scalars: ScalarRecords = field(default_factory=ScalarRecords)

    def shown(self) -> Shown:
        """The question, the grid, and when and how it was requested."""
        axes = [(key, ", ".join(map(str, values))) for key, values in self._grid.items()]
        return Shown(
            f"{self.name}: {self.question}" if self.question else self.name,
            [f"{seeds_words(self.definition)}, since {self.created[:10]}"],
            ["setting", "values"],
            axes,
        )

    @property
    def _grid(self) -> dict[str, Any]:
        grid: dict[str, Any] = self.definition["grid"]
        return grid


@dataclass(frozen=True, repr=False)
class RunRecord(Displayed):
    """A run as listed by ``ablab runs --json``; a number that is not finite is None."""

    run: str
    experiments: list[str]
    variant: dict[str, Any]
    seed: int
    status: str
    step: int
    steps: int
    train_loss: float | None
    eval_loss: float | None
    seconds: float
    n_params: int | None
    error: str | None

    def shown(self) -> Shown:
        """The variant, the seed, the status and the losses."""
        losses = {"training loss": self.train_loss, "held-out loss": self.eval_loss}
        known = [f"{name} {value:.4g}" for name, value in losses.items() if value is not None]
        return Shown(
            f"run {self.run}: {variant_label(self.variant)}, seed {self.seed}",
            [
                f"{self.status} at step {self.step:,} of {self.steps:,}",
                *([", ".join(known)] if known else []),
                *([self.error] if self.error else []),
            ],
        )


def status_of(row: Any, steps: int, stopped: int | None, living: set[str]) -> str:
    """A run's status within an experiment of ``steps`` steps."""
    if stopped is not None:
        return "stopped"
    if row["outcome"] == "diverged" and row["step"] <= steps:
        return "diverged"
    if row["step"] >= steps:
        return "finished"
    if row["outcome"] == "failed":
        return "failed"
    if row["owner"] is not None:
        return "running" if row["owner"] in living else "interrupted"
    return "interrupted" if row["step"] else "planned"


def finite(value: float | None) -> float | None:
    """The number, or None if it is not finite."""
    return None if value is None or not math.isfinite(value) else value


def precedence(member: Any) -> tuple[int, int]:
    """By which experiment a run is told: the most steps, and those at which none stopped it."""
    stopped = member["stopped"]
    return member["steps"], member["steps"] if stopped is None else stopped


def run_record(
    row: Any,
    members: list[Any],
    number: int | None,
    living: set[str],
    nullable: Callable[[int], Collection[str]],
) -> RunRecord:
    """A run's record within an experiment; by default, the one that requested the most steps.

    Of several, that is the one in which it came farthest, and of these the one requested last.

    Args:
        row: The run's row of the index.
        members: Its rows as a member of experiments, in the order in which these were requested.
        number: The experiment.
        living: The owners of leases that are alive.
        nullable: The keys of which null is a value, by the number of an experiment.
    """
    if number is None:
        order = [(*precedence(each), place) for place, each in enumerate(members)]
        member = members[max(order)[-1]]
    else:
        member = next(each for each in members if each["experiment"] == number)
    stopped = member["stopped"]
    status = status_of(row, member["steps"], stopped, living)
    variant = json.loads(member["variant"])
    if None in variant.values():
        variant = labelled(variant, nullable(member["experiment"]))
    return RunRecord(
        run=row["id"],
        experiments=list(dict.fromkeys(each["name"] for each in members)),
        variant=variant,
        seed=row["seed"],
        status=status,
        step=min(row["step"], member["steps"] if stopped is None else stopped),
        steps=member["steps"],
        train_loss=finite(row["train_loss"]),
        eval_loss=finite(row["eval_loss"]),
        seconds=row["seconds"],
        n_params=row["n_params"],
        error=row["error"] if status in ("diverged", "failed") else None,
    )


def experiment_record(row: Any, scalars: ScalarRecords) -> ExperimentRecord:
    """The record of an experiment, from its row joined with its registration."""
    return ExperimentRecord(
        id=row["id"],
        name=row["name"],
        question=row["question"],
        definition=json.loads(row["definition"]),
        command=row["command"],
        environment=json.loads(row["environment"]),
        levels=json.loads(row["levels"]),
        created=row["created"],
        entry=row["entry"],
        registration=_registration(row),
        scalars=scalars,
    )


def _registration(row: Any) -> Registration | None:
    """What was recorded when an experiment was registered; None if nothing was."""
    if row["registration"] is None:
        return None
    try:
        return Registration.model_validate_json(row["registration"])
    except ValueError as error:
        raise StoreError(
            Problem(
                f"the record of the experiment {row['name']!r} is damaged",
                given=str(error).partition("\n")[0],
                expected="a record written by ablab; ablab run writes it again",
            )
        ) from error
