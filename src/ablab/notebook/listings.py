"""Lists of public objects that show themselves as a table."""

from collections.abc import Mapping, Sequence

from ablab.config import counted
from ablab.config.shown import Displayed, Shown
from ablab.experiments.variant import variant_label
from ablab.read.curves import Reading
from ablab.read.curves.sentences import sentence
from ablab.read.verdicts import Verdict
from ablab.store.store import ExperimentRecord, RunRecord, Store
from ablab.store.sums import Sums, experiment_sums, total_sums


class Runs(Displayed, list[RunRecord]):
    """A list of runs."""

    def shown(self) -> Shown:
        """A row for each run."""
        return Shown(
            f"{counted(len(self), 'run')}: {status_words(self)}" if self else "no runs",
            (),
            ["run", "variant", "seed", "status", "step", "train_loss", "eval_loss"],
            [
                (
                    each.run,
                    variant_label(each.variant),
                    each.seed,
                    each.status,
                    each.step,
                    each.train_loss,
                    each.eval_loss,
                )
                for each in self
            ],
        )


class Experiments(Displayed, list[ExperimentRecord]):
    """A list of experiments."""

    def shown(self) -> Shown:
        """A row for each experiment."""
        return Shown(
            counted(len(self), "experiment") if self else "no experiments yet",
            (),
            ["experiment", "question", "since"],
            [(each.name, each.question, each.created[:10]) for each in self],
        )


class Verdicts(Displayed, list[Verdict]):
    """The verdicts on an experiment's expectations."""

    def shown(self) -> Shown:
        """A row for each verdict."""
        states = [each.state for each in self]
        counts = ", ".join(f"{states.count(each)} {each}" for each in dict.fromkeys(states))
        return Shown(
            f"{counted(len(self), 'expectation')}: {counts}" if self else "no expectations",
            (),
            ["claim", "verdict", "evidence"],
            [(each.claim, each.state, each.evidence) for each in self],
        )


class Readings(Displayed, dict[str, Reading]):
    """The features of curves, by run.

    Args:
        found: The readings by run id.
        runs: The runs, for their variants and seeds.
    """

    def __init__(self, found: Mapping[str, Reading], runs: Sequence[RunRecord]) -> None:
        super().__init__(found)
        self._runs = {each.run: each for each in runs}

    def shown(self) -> Shown:
        """A sentence for each curve."""
        columns = list(dict.fromkeys(each.column for each in self.values()))
        return Shown(
            f"{counted(len(self), 'reading')} of {', '.join(columns)}" if self else "no readings",
            (),
            ["run", "variant", "seed", "reading"],
            [(run, *self._about(run), sentence(each)) for run, each in self.items()],
        )

    def _about(self, run: str) -> tuple[str, int | None]:
        found = self._runs.get(run)
        return ("", None) if found is None else (variant_label(found.variant), found.seed)


def shown_store(store: Store, experiments: Sequence[ExperimentRecord]) -> Shown:
    """A row for each experiment of a store, with what became of its runs."""
    rows, sums = [], experiment_sums(store.index)
    for each in experiments:
        found = sums.get(each.id, Sums())
        rows.append((each.name, each.question, found.runs, found.words, each.created[:10]))
    names = counted(len(experiments), "experiment")
    return Shown(
        f"store {store.path}: {counted(total_sums(store.index).runs, 'run')} of {names}",
        () if rows else ["no experiments yet: ablab.run(experiment, store=…) adds one"],
        ["experiment", "question", "runs", "status", "since"] if rows else (),
        rows,
        "store.experiments",
    )


def status_words(runs: Sequence[RunRecord]) -> str:
    """How many runs have each status: ``8 finished, 1 diverged``."""
    statuses = [each.status for each in runs]
    return ", ".join(f"{statuses.count(each)} {each}" for each in dict.fromkeys(statuses))
