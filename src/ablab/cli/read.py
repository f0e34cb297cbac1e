"""``ablab read`` and ``ablab expect``: describe curves, record and judge expectations."""

import re
from pathlib import Path
from typing import Any

import click

from ablab.cli.common import (
    echo,
    json_option,
    name_in,
    print_json,
    print_table,
    progress,
    quiet_option,
    say,
    say_command,
    store_option,
    stored_argument,
)

_OVERRIDE = re.compile(r"[A-Za-z_][\w.]*=")


@click.command()
@stored_argument("target", metavar="EXPERIMENT|RUN")
@click.option("--column", default="train_loss", show_default=True, help="The column to read.")
@store_option
@json_option
@quiet_option
def read(target: str, column: str, store: str, as_json: bool, quiet: bool) -> None:
    """Describe curves: plateaus, descents, rises, transitions, spikes, the floor.

    The training loss is read together with the held-out loss, where that was logged: whether and
    when a run generalises, or overfits.
    """
    from ablab.config import InputError, Problem, ticking
    from ablab.experiments.experiment import variant_label
    from ablab.read.by_factor import by_factor, factor_sentences
    from ablab.read.curves.pair_sentences import group_pair_sentence, pair_sentence
    from ablab.read.curves.sentences import group_sentence, sentence
    from ablab.read.pairs import COLUMNS, experiment_pairs
    from ablab.read.readings import experiment_readings
    from ablab.read.spikes import explain
    from ablab.store import Store
    from ablab.store.metrics import experiment_runs

    opened = Store(store)
    record, only = find_target(opened, target)
    runs = [run for run in experiment_runs(opened, record) if only in (None, run.run)]
    with progress(quiet, "reading curves"):
        found = experiment_readings(opened, record, runs, column)
    started = [run for run in runs if run.step]
    if started and not found:
        raise InputError(
            Problem(
                f"no column {column} with numeric values",
                "--column",
                given=column,
                expected="a column that ablab metrics prints",
            )
        )
    with progress(quiet, "explaining spikes"):
        explained = {
            run.run: explain(opened, record, run, found[run.run])
            for run in ticking(runs, len(runs), "explaining spikes in", "run")
            if run.run in found and column == "train_loss"
        }
    with progress(quiet, "reading curves in pairs"):
        pairs = experiment_pairs(opened, record, runs) if column in COLUMNS else {}
    with progress(quiet, "reading by factor"):
        factors = (
            factor_sentences(by_factor(opened, record, runs), runs) if column in COLUMNS else {}
        )
    groups: dict[str, list[Any]] = {}
    for run in runs:
        if run.run in found:
            groups.setdefault(variant_label(run.variant), []).append(run)
    if as_json:
        print_json(
            {
                "experiment": record.name,
                "column": column,
                "runs": [
                    {
                        "run": run.run,
                        "variant": run.variant,
                        "seed": run.seed,
                        "status": run.status,
                        "sentence": sentence(found[run.run]),
                        **found[run.run].as_data(),
                        "together": None
                        if run.run not in pairs
                        else {
                            "sentence": pair_sentence(pairs[run.run]),
                            **pairs[run.run].as_data(),
                        },
                        "explanation": None
                        if explained.get(run.run) is None
                        else explained[run.run].as_data(),  # type: ignore[union-attr]
                    }
                    for run in runs
                    if run.run in found
                ],
                "variants": [
                    {
                        "variant": members[0].variant,
                        "sentence": group_sentence([found[run.run] for run in members]),
                        "by_factor": factors.get(label, []),
                    }
                    for label, members in groups.items()
                ],
            }
        )
        return
    beside = opened.path.resolve().parent
    where = "" if beside == Path.cwd() else f", in {beside}"
    nothing = "nothing to read yet: no run has trained any steps"
    say(f"of {column}, smoothed over its noise:" if found else nothing)
    for label, members in groups.items():
        say(label, bold=True)
        if len(members) > 1:
            say(f"all: {group_sentence([found[run.run] for run in members])}", 2)
            both = group_pair_sentence([pairs[run.run] for run in members if run.run in pairs])
            if both:
                say(both, 4)
        for each in factors.get(label, ()):
            say(each, 2)
        for run in members:
            say(f"seed {run.seed} ({run.run}): {sentence(found[run.run])}", 2)
            if run.run in pairs and pairs[run.run].anything:
                say(pair_sentence(pairs[run.run]), 4)
            why = explained.get(run.run)
            if why is not None:
                say(why.sentence, 4)
                say_command(why.command, 4, before=f"try{where}: ")


def find_target(store: Any, target: str) -> tuple[Any, str | None]:
    """The record of an experiment; for a run, that of its last experiment, and the run's id."""
    from ablab.cli.show import run_id
    from ablab.store.run_rows import longest_experiment

    if any(target in (record.name, record.entry) for record in store.experiments()):
        return store.experiment(target), None
    run = run_id(store, target)
    number = longest_experiment(store, run)
    record = next(each for each in store.experiments() if each.id == number)
    return record, run


@click.command()
@click.argument("experiment")
@click.argument("arguments", nargs=-1, metavar='[KEY=VALUE …] ["EXPECTATION" …]')
@click.option("--confidence", type=float, metavar="P", help="How sure you are, from 0 to 1.")
@click.option("--claim", metavar="TEXT", help="The claim in your own words.")
@store_option
@json_option
@quiet_option
def expect(
    experiment: str,
    arguments: tuple[str, ...],
    confidence: float | None,
    claim: str | None,
    store: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Record what you expect of EXPERIMENT, or list its expectations with their verdicts.

    An expectation is a sentence such as "leaves(log(10)) falls with model.d_model". It gets a
    timestamp; expectations recorded after results exist are marked as late. EXPERIMENT is a stored
    experiment, or a recipe or file (with overrides) that has not been run yet.
    """
    from ablab.config import InputError, Problem, counted
    from ablab.execute.environment import environment
    from ablab.experiments import experiment as make
    from ablab.experiments.expectation_checks import (
        check_expectations,
        check_levels,
        check_settings,
    )
    from ablab.experiments.tuned_cells import is_to_tune
    from ablab.logbook.entry import write_entry
    from ablab.read.calibration import calibration
    from ablab.read.documents.formats import verdicts_document
    from ablab.read.verdicts import verdicts
    from ablab.store import Store
    from ablab.store.expected import stamp
    from ablab.store.known_runs import as_stored
    from ablab.store.run_rows import run_settings

    overrides = [each for each in arguments if _OVERRIDE.match(each)]
    sentences = [each for each in arguments if not _OVERRIDE.match(each)]
    parsed = _parsed(sentences, claim, confidence)
    # What is expected of a file is expected of its definition; what was, is listed by name.
    record = None if overrides else _stored(store, experiment if parsed else name_in(experiment))
    if record is None:
        asked = make(experiment, *overrides).resolve()
        if is_to_tune(asked.definition):
            raise InputError(
                Problem(
                    f"the settings of {asked.name} are found when it runs, and nothing is "
                    "registered before",
                    "tune",
                    expected="expectations under expect: in its file, which are registered before "
                    "its runs are trained",
                )
            )
        check_expectations(parsed, [axis.key for axis in asked.axes], None)
        check_levels(parsed, None, [variant.parts for variant in asked.variants], None)
        if not sentences and not asked.expectations:
            raise InputError(
                Problem(f"{asked.name} has no expectations yet", expected="a sentence, in quotes")
            )
        opened = Store(store, create=True)
        command = " ".join(["ablab expect", experiment, *overrides])
        record = opened.register(as_stored(asked, opened), command, environment())
        stamp(opened, record, asked.expectations)
    else:
        opened = Store(store)
        check_expectations(parsed, list(record.definition["grid"]), None)
        runs = [row["run"] for row in opened.members(record.id)]
        check_settings(parsed, None, run_settings(opened, runs).values(), None)
    new = stamp(opened, record, parsed)
    with progress(quiet, "judging expectations"):
        if new or sentences:
            write_entry(opened, record)
        found = verdicts(opened, record)
    if as_json:
        with progress(quiet, "judging expectations"):
            every = [each for other in opened.experiments() for each in verdicts(opened, other)]
        added = [each.expectation.sentence for each in new]
        print_json(verdicts_document(record.name, found, added, calibration(every)))
        return
    for each in new:
        late = (
            f"; marked as late, since {each.seen} of {counted(each.runs, 'run')} had results"
            if each.late
            else ""
        )
        say(f"recorded at {each.written[:16].replace('T', ' ')} UTC{late}", err=True)
    if len(new) < len(parsed):
        say("expectations that were already recorded keep their timestamp", err=True)
    _print_verdicts(found, record.name)


def _parsed(sentences: list[str], claim: str | None, confidence: float | None) -> list[Any]:
    """The expectations that were given as sentences."""
    from ablab.config import InputError, Problem
    from ablab.experiments.expectations import parse_expectation

    if confidence is not None and not 0 < confidence <= 1:
        raise InputError(
            Problem("a confidence is a probability", "--confidence", given=confidence,
                    expected="a number above 0 and at most 1")
        )  # fmt: skip
    if (claim is not None or confidence is not None) and not sentences:
        raise InputError(Problem("no expectation was given", expected="a sentence, in quotes"))
    parsed = [parse_expectation(text, confidence) for text in sentences]
    if claim is not None:
        parsed = [each.model_copy(update={"claim": claim}) for each in parsed]
    return parsed


def _print_verdicts(found: Any, name: str) -> None:
    from ablab.read.family import family, remarks

    if not found:
        say(f'{name} has no expectations; ablab expect {name} "…" records one')
        return
    print_table(
        ["expectation", "verdict", "confidence", "evidence"],
        [
            (each.claim + (" (written after results)" if each.late else ""), each.state,
             each.confidence, "; ".join(filter(None, [each.evidence, remark])))
            for each, remark in zip(found, remarks(found), strict=True)
        ],
        texts=["expectation", "evidence"],
    )  # fmt: skip
    if chance := family(found).sentence("expectation"):
        echo("")
        say(chance)


def _stored(store: str, name: str) -> Any:
    """The stored experiment with this name; None if there is no store or no such experiment."""
    from pathlib import Path

    from ablab.store import Store

    if not (Path(store) / "index.sqlite").is_file():
        return None
    opened = Store(store)
    known = [each for each in opened.experiments() if name in (each.name, each.entry)]
    return opened.experiment(name) if known else None
