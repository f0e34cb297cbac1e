"""Claims of logbooks, compared with our results, recipe by recipe."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ablab.config import InputError, Problem, nearest
from ablab.experiments.cell_text import in_cell
from ablab.experiments.expectations import Expectation
from ablab.experiments.experiment import Experiment, experiment, outline
from ablab.experiments.measures import parse_measure
from ablab.experiments.outline import Outline, trained_digest
from ablab.experiments.seeds import settling_seeds
from ablab.experiments.source import read_source, shipped
from ablab.read.family import Family, family
from ablab.read.family import tally as counts_of
from ablab.read.judgements import Outcome, compared_cells
from ablab.read.measured import shown
from ablab.read.verdicts import Verdict, judge
from ablab.store.expected import Stamped, stamped
from ablab.store.metrics import experiment_runs
from ablab.store.run_rows import started_experiments
from ablab.store.store import ExperimentRecord, RunRecord, Store

NOT_RUN = "not run"
OPEN = (NOT_RUN, "failed")  # states in which a larger size may decide otherwise
_ENDED = ("finished", "stopped", "diverged", "failed")


@dataclass(frozen=True)
class Claim:
    """A claim of a logbook with its verdict.

    Attributes:
        expectation: The claim, with its number and its source.
        verdict: The verdict; None if the runs that it needs were not run.
        adjusted: The p-value, adjusted for all claims of the logbook; None if it has no test.
        corrected: The outcome with that p-value; None if it has no test.
        seeds: The number of seeds among the runs of the cells that it compares.
        complete: Whether all of these runs have ended.
    """

    expectation: Expectation
    verdict: Verdict | None
    adjusted: float | None = None
    corrected: Outcome | None = None
    seeds: int = 0
    complete: bool = False

    @property
    def outcome(self) -> str:
        """``held``, ``failed``, ``undecided`` or ``not run``."""
        return NOT_RUN if self.verdict is None else self.verdict.outcome

    @property
    def state(self) -> str:
        """The outcome, or ``not tested`` if it is undecided because no test was possible."""
        return NOT_RUN if self.verdict is None else self.verdict.state

    @property
    def ours(self) -> str:
        """The number with its 95% interval, or how many runs reached it; then the tested range."""
        found, tested = self._found(), self.expectation.tested
        return f"{found}; tested: {tested}" if found and tested else found

    def _found(self) -> str:
        if self.verdict is None:
            return ""
        if self.verdict.counts is not None:
            counts = [f"{count} of {runs}" for count, runs in self.verdict.counts]
            return f"reached by {', '.join(counts)}"
        if self.verdict.value is None:
            return ""
        text = shown(self.verdict.value)
        if self.verdict.estimand == "ratio":
            text += " times"
        if self.verdict.interval is None:
            return text
        low, high = self.verdict.interval
        return f"{text} [{low:.4g}, {high:.4g}]"


@dataclass(frozen=True)
class RecipeClaims:
    """The claims that a recipe tests.

    Attributes:
        name: The recipe's name.
        logbook: The logbook that it belongs to, or else its own name.
        question: The recipe's question.
        size: The size; None if the recipe has no sizes.
        about: How this size differs from the others.
        asked: The outline of the experiment at this size.
        lacking: The reason why it cannot be run on this machine, if that was found out.
        record: The experiment in the store; None if it was not run.
        seconds_by_run: The training time of each of its runs in the store, in seconds.
        claims: The claims.
        further: The same by other evidence, each with the claims that it has something to say of.
    """

    name: str
    logbook: str
    question: str
    size: str | None
    about: str
    asked: Outline
    lacking: str | None
    record: ExperimentRecord | None
    seconds_by_run: Mapping[str, float]
    claims: tuple[Claim, ...]
    further: tuple["RecipeClaims", ...] = ()

    @property
    def seeds_added(self) -> int | None:
        """The most seeds, if seeds are added until its claims are settled; else None."""
        seeds = self.asked.definition.get("seeds")
        return seeds["to"] if isinstance(seeds, Mapping) else None

    @property
    def evidence(self) -> str:
        """Where its results come from: a size, or added seeds."""
        if self.seeds_added is not None:
            return f"seeds added, up to {self.seeds_added}"
        return f"size {self.size}" if self.size else "the usual size"

    @property
    def runs(self) -> int:
        """The number of its runs in the store."""
        return len(self.seconds_by_run)

    @property
    def seconds(self) -> float:
        """The total training time of its runs, in seconds."""
        return sum(self.seconds_by_run.values())

    def as_data(self) -> dict[str, Any]:
        """The claims as plain data."""
        return {
            "recipe": self.name,
            "logbook": self.logbook,
            "question": self.question,
            "size": self.size,
            "about": self.about,
            "entry": None if self.record is None else self.record.entry,
            "runs": self.runs,
            "seconds": self.seconds,
            "lacking": self.lacking,
            "claims": [
                {
                    "claim": each.expectation.text,
                    "figure": each.expectation.figure,
                    "source": each.expectation.source,
                    "sentence": each.expectation.sentence,
                    "value": None if each.verdict is None else each.verdict.value,
                    "interval": None if each.verdict is None else each.verdict.interval,
                    "evidence": None if each.verdict is None else each.verdict.evidence,
                    "ours": each.ours,
                    "outcome": each.outcome,
                    "state": each.state,
                    "counts": None if each.verdict is None else each.verdict.counts,
                    "p": None if each.verdict is None else each.verdict.p,
                    "p_adjusted": each.adjusted,
                    "corrected": each.corrected,
                    "seeds": each.seeds,
                }
                for each in self.claims
            ],
            "evidence": self.evidence,
            "further": [each.as_data() for each in self.further],
        }


def chosen(names: Sequence[str]) -> list[str]:
    """Resolves names of recipes, logbooks (all their recipes) and YAML files to recipes.

    Without names, all shipped recipes that have expectations.

    Raises:
        InputError: A name is none of these.
    """
    every = shipped()
    logbooks = {each.logbook for each in every if each.logbook is not None}
    known = [each.name for each in every]
    if not names:
        return [name for name in known if read_source(name)[0].get("expect")]
    found: list[str] = []
    for name in names:
        if name in logbooks:
            found += [each.name for each in every if each.logbook == name]
        elif name in known or name.endswith((".yaml", ".yml")):
            found.append(name)
        else:
            expected = "a recipe, a logbook or a YAML file: " + ", ".join(
                [*sorted(logbooks), *known]
            )
            near = nearest(name, [*logbooks, *known])
            raise InputError(
                Problem(f"there is no recipe or logbook called {name!r}", given=name,
                        expected=expected, suggestion=near)
            )  # fmt: skip
    return list(dict.fromkeys(found))


def runnable(name: str, size: str | None, settled: int | None = None) -> Experiment:
    """The experiment of a recipe, with the modules and the data that it needs.

    Args:
        name: The recipe, or a YAML file.
        size: The size; None for the recipe's default.
        settled: The most seeds, if seeds are added until claims are settled.

    Raises:
        InputError: The recipe cannot be run on this machine, or it has no such size.
    """
    has_sizes = read_source(name)[0].get("sizes")
    sized: dict[str, Any] = {"size": size} if size and has_sizes else {}
    if settled is not None:
        asked = outline(name, **sized)
        sized = sized | {"seeds": settling_seeds(asked.definition, last=settled)}
    return experiment(name, **sized).resolve()


def claims_of(
    stores: Sequence[Store],
    name: str,
    size: str | None,
    lacking: str | None = None,
    settled: int | None = None,
    seeds: Mapping[str, Any] | None = None,
) -> RecipeClaims:
    """The claims of one recipe at one size, with their verdicts.

    Imports no module and reads no data that the recipe names.

    Args:
        stores: The stores to search for its runs; the first that has any of them is used.
        name: The recipe, or a YAML file.
        size: The size; None for the recipe's default. Ignored for a recipe without sizes.
        lacking: The reason why the recipe cannot be run on this machine, if it is known.
        settled: The most seeds, if seeds are added until claims are settled; None for fixed seeds.
        seeds: How seeds are added, in place of ``settled``.

    Raises:
        InputError: The recipe has sizes but not this one, or its expectations are invalid.
    """
    tree, _ = read_source(name)
    sizes = tree.get("sizes") or {}
    sized: dict[str, Any] = {"size": size} if sizes and size else {}
    asked = outline(name, **sized)
    if settled is not None:
        seeds = settling_seeds(asked.definition, last=settled)
    if seeds is not None:
        asked = outline(name, **sized, seeds=seeds)
    size = asked.definition.get("size")
    store, record = _place(stores, asked)
    runs = [] if store is None or record is None else experiment_runs(store, record)
    about = sizes.get(size, {}).get("about", "") if size else ""
    return RecipeClaims(
        tree["name"],
        tree.get("logbook") or tree["name"],
        str(tree.get("question") or ""),
        size if sizes else None,
        about,
        asked,
        lacking,
        record,
        {run.run: run.seconds for run in runs},
        tuple(_claim(store, record, runs, each) for each in asked.expectations),
    )


def _claim(
    store: Store | None,
    record: ExperimentRecord | None,
    runs: Sequence[RunRecord],
    expectation: Expectation,
) -> Claim:
    """A claim with its verdict by the runs of an experiment."""
    if not _can_be_seen(runs, expectation):
        return Claim(expectation, None)
    cells = [each.variant for each in runs]
    own = [
        run
        for cell in compared_cells(expectation)
        for run, is_there in zip(runs, in_cell(cells, cell), strict=True)
        if is_there
    ]
    return Claim(
        expectation,
        _verdict(store, record, expectation),
        seeds=len({run.seed for run in own}),
        complete=all(run.status in _ENDED for run in own),
    )


def _place(
    stores: Sequence[Store], asked: Outline
) -> tuple[Store, ExperimentRecord] | tuple[None, None]:
    """The first store in which any run of an experiment has started, and the experiment there.

    An experiment is found by its definition. If it was asked for with other modules or another
    corpus, too, the one that was asked for last counts.
    """
    wanted = trained_digest(asked.definition)
    for store in stores:
        started = started_experiments(store)
        for record in reversed(store.experiments()):
            if record.id in started and trained_digest(record.definition) == wanted:
                return store, record
    return None, None


def _can_be_seen(runs: Sequence[RunRecord], expectation: Expectation) -> bool:
    """Whether a size has the cells that a claim compares and enough steps for its measure."""
    measure = parse_measure(expectation.measure)
    step = measure.numbers[0] if measure.function == "at" else 0
    for cell in compared_cells(expectation):
        ends = [
            run.steps
            for run, is_there in zip(runs, in_cell([r.variant for r in runs], cell), strict=True)
            if is_there
        ]
        if not ends or max(ends) < step:
            return False
    return True


def _verdict(
    store: Store | None, record: ExperimentRecord | None, expectation: Expectation
) -> Verdict | None:
    """The verdict on a recipe's expectation, with its time stamp if it is in the store."""
    if store is None or record is None:
        return None
    for each in stamped(store, record):
        if each.expectation == expectation:
            return judge(store, record, each)
    return judge(store, record, Stamped(expectation, "", 0, 0))


def corrected(found: Sequence[RecipeClaims]) -> tuple[list[RecipeClaims], dict[str, Family]]:
    """The claims with verdicts corrected for all of their logbook, and each logbook's family."""
    families: dict[str, Family] = {}
    result = list(found)
    for logbook in dict.fromkeys(each.logbook for each in found):
        places = [place for place, each in enumerate(found) if each.logbook == logbook]
        known = family([claim.verdict for place in places for claim in found[place].claims])
        families[logbook] = known
        more = iter(zip(known.adjusted, known.corrected, strict=True))
        for place in places:
            claims = [
                replace(claim, adjusted=p, corrected=outcome)
                for claim, (p, outcome) in zip(found[place].claims, more, strict=False)
            ]
            result[place] = replace(found[place], claims=tuple(claims))
    return result, families


def tally(found: Sequence[RecipeClaims]) -> str:
    """The number of claims and of each outcome, as text."""
    return count_states(claim.state for each in found for claim in each.claims)


def count_states(every: Iterable[str]) -> str:
    """The number of claims and of each of their states, as text."""
    states = list(every)
    many = "s" if len(states) > 1 else ""
    return f"{len(states)} claim{many}: {counts_of(states)}" if states else "no claims"
