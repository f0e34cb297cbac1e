"""The plan of an experiment, made without writing anything, for people to read."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ablab.config.shown import Displayed, Shown
from ablab.config.wording import counted
from ablab.execute.cells import check_cells, chosen_runs
from ablab.execute.early_stops import foreseen_stops
from ablab.execute.executor import planning_device, with_capacity
from ablab.execute.guest import as_guest
from ablab.execute.observers import check_captures, check_queries
from ablab.execute.options import Options
from ablab.execute.orchestrate import (
    against_stored,
    methods_before,
    steps_to_train,
    trained_elsewhere,
)
from ablab.execute.own_parts import check_own_parts
from ablab.execute.plan import Plan, check_memory, make_plan
from ablab.execute.plan_text import remarks
from ablab.execute.speeds import Speeds
from ablab.execute.status import duration
from ablab.experiments.experiment import Experiment
from ablab.experiments.grid_text import several_text
from ablab.experiments.halving import halving_of
from ablab.experiments.search import check_search, planned_trials
from ablab.experiments.trials import (
    asked_tuning,
    check_measure,
    trial_experiment,
    tuned_experiment,
)
from ablab.experiments.tuned_cells import is_to_tune
from ablab.watching.step_statistics import check_watching


@dataclass(frozen=True, repr=False)
class PlannedExperiment(Displayed):
    """How an experiment would be trained.

    Attributes:
        experiment: The experiment, with the ids that the store has for its runs.
        plan: The stacks, the processes and the estimated time.
        left: Steps left to train, by run id.
        news: Why runs are new although an earlier version of the experiment is stored; or None.
        captured_bytes: The size of what captures would write.
        speeds: The known speeds of this machine.
        first_round: If seeds are added, the plan of the first round; ``plan`` has the most seeds.
        tuning: How the trials would be trained before, if variants are to be tuned: that is at most
            what is left of them. The settings of the reported runs are not known before, so the
            plan has others in their place; None if nothing is to be tuned.
    """

    experiment: Experiment
    plan: Plan
    left: Mapping[str, int]
    news: str | None
    captured_bytes: int
    speeds: Speeds = field(repr=False)
    first_round: Plan | None = None
    tuning: "PlannedExperiment | None" = None

    @property
    def rounds(self) -> str:
        """What training in rounds takes, by added seeds or halving; empty without either."""
        if halving_of(self.experiment.definition) is not None:
            return self._halving
        settling, first = self.experiment.settling, self.first_round
        if settling is None or first is None:
            return ""
        begins = len(self.experiment.variants) * settling.first
        return (
            f"at most: each variant begins with {settling.first} seeds, and up to {settling.last} "
            f"are added in rounds until the questions are settled; the first round has "
            f"{counted(begins, 'run')}, about {first.estimate}"
        )

    @property
    def before(self) -> list[str]:
        """What the trials of a tuning cost at most, in a line; empty if nothing is to be tuned."""
        if self.tuning is None:
            return []
        trials, plan = self.tuning.experiment, self.tuning.plan
        count = counted(len(self.tuning.left), "run")
        told = f"before, {trials.name}: at most {count} to train, about {plan.estimate}"
        return [told, *filter(None, [self.tuning.rounds])]

    @property
    def _halving(self) -> str:
        """What halving takes at most and at least."""
        asked, halving = self.experiment, halving_of(self.experiment.definition)
        assert halving is not None, "checked by the caller"
        last = min(variant.parts.train.steps for variant in asked.variants)
        groups = halving.groups([variant.keys for variant in asked.variants])
        costs = [halving.run_steps(last, len(group), len(asked.seeds)) for group in groups]
        least, most = sum(each for each, _ in costs), sum(each for _, each in costs)
        rungs = ", ".join(f"{step:,}" for step in halving.steps(last))
        told = (
            f"halving after step {rungs}: at most {most:,} run-steps, the full grid, where all "
            "that would be paused is on plateaus that others have left; at least "
            f"{least:,} ({least / most:.0%}), with the planned shares"
        )
        whole = len(self.left) == len(asked.runs)
        return told + (f", about {duration(self.plan.seconds * least / most)}" if whole else "")

    def shown(self) -> Shown:
        """The runs to train, the time they take, and a row for each stack."""
        asked, plan = self.experiment, self.plan
        cells = {run.id: variant.keys for variant in asked.variants for run in variant.runs}
        rows = [
            (
                number,
                several_text(list({str(c): c for c in (cells[r.id] for r in stack.runs)}.values())),
                len(stack.runs),
                sum(run.id in self.left for run in stack.runs),
                stack.method.title,
                str(stack.estimate),
                stack.why,
            )
            for number, stack in enumerate(plan.stacks, 1)
        ]
        return Shown(
            f"{asked.name}: {len(self.left):,} of {counted(len(asked.runs), 'run')} to train, "
            f"about {plan.estimate}, {counted(plan.workers, 'process', 'processes')} "
            f"on {plan.device}",
            [
                *filter(None, [self.news, *self.before, self.rounds]),
                *remarks(asked, plan, self.left),
            ],
            ["stack", "variants", "runs", "to train", "method", "time", "why"],
            rows,
            "plan.plan.stacks",
        )


@as_guest()
def plan_experiment(asked: Experiment, store: str | Path, options: Options) -> PlannedExperiment:
    """Plans an experiment; writes only measured speeds, to the user's cache.

    Args:
        asked: The experiment.
        store: The folder of the store, which need not exist.
        options: How it would be run.

    Raises:
        InputError: The experiment or an option is invalid.
    """
    check_cells(asked, options)
    if is_to_tune(asked.definition):
        return _with_tuning(asked, store, options)
    speeds = Speeds()
    asked.resolve()
    if asked.settling is not None:
        asked = asked.with_seeds(dict.fromkeys(range(len(asked.variants)), asked.settling.last))
    check_memory(asked.runs)
    check_watching(asked.runs)
    check_queries(asked.runs)
    asked, news = against_stored(asked, store)
    runs = chosen_runs(asked, options)
    left = steps_to_train(asked, store, options.retry, runs)
    to_train = [each for each in runs if each.id in left]
    check_own_parts(to_train)
    captured = check_captures(to_train, store)
    before, stops = methods_before(asked, store), foreseen_stops(asked, store)
    options = with_capacity(options)
    device, elsewhere = planning_device(options), trained_elsewhere(asked, store, left)
    plan = make_plan(runs, options, left, speeds, before, stops, device, elsewhere)
    begins = None
    if asked.settling is not None:
        first = {run.id: run for run in runs if run.seed < asked.settling.first}
        steps = {run: count for run, count in left.items() if run in first}
        begins = make_plan(list(first.values()), options, steps, speeds, before, stops, device)
    speeds.save()
    return PlannedExperiment(asked, plan, left, news, captured, speeds, begins)


def _with_tuning(asked: Experiment, store: str | Path, options: Options) -> PlannedExperiment:
    """The plans of an experiment whose variants are to be tuned, and of the trials."""
    tuning = asked_tuning(asked)
    check_search(tuning)
    check_measure(asked)
    settings = planned_trials(tuning, asked.name)
    trials = trial_experiment(asked, [settings for _ in asked.variants]).experiment
    before = plan_experiment(trials, store, options)
    reported = tuned_experiment(asked, "", [settings[0] for _ in asked.variants])
    found = plan_experiment(reported, store, options)
    return replace(found, news=None, tuning=replace(before, news=None))
