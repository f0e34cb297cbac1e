"""Units of work: runs' models at steps that are analyzed together, by one process."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ablab.config import InputError, Problem
from ablab.store.stored_run import StoredRun

_MODELS = 128  # in a unit
_BYTES = 256 * 2**20  # of parameters in a unit
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Unit:
    """Runs of one model and one task, which can be stacked, with the steps to analyze.

    Attributes:
        runs: The runs.
        steps: The steps of each.
    """

    runs: tuple[StoredRun, ...]
    steps: tuple[tuple[int, ...], ...]

    @property
    def models(self) -> int:
        """The number of models."""
        return sum(map(len, self.steps))

    @property
    def places(self) -> list[tuple[StoredRun, int]]:
        """Each model, as its run and step."""
        return [(run, s) for run, steps in zip(self.runs, self.steps, strict=True) for s in steps]


def make_units(runs: Sequence[StoredRun], steps: Sequence[Sequence[int]], parts: int) -> list[Unit]:
    """Divides models into units.

    Args:
        runs: The runs.
        steps: The steps of each; runs without steps are left out.
        parts: The number of processes that will share them.
    """
    alike: dict[str, list[tuple[StoredRun, tuple[int, ...]]]] = {}
    for run, own in zip(runs, steps, strict=True):
        if own:
            shape = {key: value for key, value in run.config.items() if key in ("task", "model")}
            alike.setdefault(json.dumps(shape, sort_keys=True), []).append((run, tuple(own)))
    units: list[Unit] = []
    for group in alike.values():
        total = sum(len(own) for _, own in group)
        size = (group[0][0].record.n_params or 1) * _FLOAT_BYTES
        most = max(1, min(_MODELS, _BYTES // size, -(-total // parts)))
        begun: list[tuple[StoredRun, tuple[int, ...]]] = []
        for run, own in group:
            for start in range(0, len(own), most):
                piece = own[start : start + most]
                if begun and sum(len(each) for _, each in begun) + len(piece) > most:
                    units.append(_unit(begun))
                    begun = []
                begun.append((run, piece))
        units.append(_unit(begun))
    return units


def _unit(begun: Sequence[tuple[StoredRun, tuple[int, ...]]]) -> Unit:
    return Unit(tuple(run for run, _ in begun), tuple(own for _, own in begun))


def chosen_steps(run: StoredRun, wanted: str | Sequence[int]) -> list[int]:
    """The chosen steps of a run, starting with 0, the control.

    Args:
        run: The run.
        wanted: ``all``, ``last``, a range ``A:B`` that includes both ends, or step numbers.

    Raises:
        InputError: A step has no snapshot, or no step is chosen.
    """
    snapshots = kept_steps(run)
    chosen: list[int]
    if wanted == "all":
        chosen = snapshots
    elif wanted == "last":
        chosen = snapshots[-1:]
    elif isinstance(wanted, str) and ":" in wanted:
        first, last = _numbers(wanted, ":")
        chosen = [step for step in snapshots if first <= step <= last]
    else:
        chosen = _numbers(wanted, ",") if isinstance(wanted, str) else list(wanted)
    missing = [step for step in chosen if step not in (0, *snapshots)]
    if missing or not chosen:
        raise InputError(
            Problem(
                f"run {run.id} has no snapshot of "
                + (f"step {missing[0]}" if missing else "any of these steps"),
                "steps",
                given=wanted,
                expected="all, last, or some of " + ", ".join(map(str, snapshots))
                if snapshots
                else "a run that has been trained",
            )
        )
    return sorted({0, *chosen})


def kept_steps(run: StoredRun) -> list[int]:
    """The steps of a run that have a snapshot, up to the last step in the run's experiment."""
    return [step for step in run.snapshots if step <= run.record.step]


def last_step(run: StoredRun) -> int:
    """The last step of a run, in its experiment, that has a snapshot; 0 if none has."""
    return max(kept_steps(run), default=0)


def _numbers(text: str, between: str) -> list[int]:
    parts = text.split(between)
    if not all(part.strip().isdecimal() for part in parts) or (between == ":" and len(parts) != 2):
        raise InputError(
            Problem("steps: not a choice of steps", "steps", given=text,
                    expected="all, last, a range A:B, or numbers: 100,200")
        )  # fmt: skip
    return [int(part) for part in parts]
