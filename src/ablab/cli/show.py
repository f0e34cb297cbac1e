"""``ablab recipes``, ``runs``, ``show`` and ``metrics``: list and show what exists."""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import click

from ablab.cli.common import (
    echo,
    json_option,
    print_json,
    print_json_list,
    print_table,
    progress,
    quiet_option,
    say,
    store_option,
    stored_argument,
    stored_name,
)


@click.command()
@click.argument("name", required=False)
@json_option
@quiet_option
def recipes(name: str | None, as_json: bool, quiet: bool) -> None:
    """List the shipped experiments, each with its question and sizes (size=NAME chooses one).

    With NAME, print the file of one, to copy: ablab recipes NAME > mine.yaml
    """
    from ablab.experiments.source import recipe_text, shipped

    if name is not None:
        text = recipe_text(name)
        if as_json:
            print_json({"name": name, "text": text})
        else:
            click.echo(text, nl=False)
        return

    found = shipped()
    if as_json:
        print_json(
            [
                {
                    "name": each.name,
                    "question": each.question,
                    "logbook": each.logbook,
                    "sizes": [
                        {"name": size.name, "about": size.about} for size in each.sizes.values()
                    ],
                }
                for each in found
            ]
        )
        return
    print_table(
        ["recipe", "question", "sizes", "logbook"],
        [
            (
                each.name,
                each.question,
                ", ".join(each.sizes),
                each.logbook,
            )
            for each in sorted(found, key=lambda each: each.logbook or "")
        ],
        texts=["question"],
        groups=["sizes", "logbook"],
    )
    echo("")
    say("ablab run RECIPE trains a recipe, and ablab run RECIPE size=SIZE one of its sizes.")
    say("ablab recipes RECIPE prints its file, to copy and change.")
    say("ablab claims LOGBOOK compares the results with what the logbook claims.")


_PAGE = 1_000  # runs that are listed by default


@click.command()
@stored_argument("name", required=False, metavar="[EXPERIMENT]")
@click.option("--experiment", metavar="NAME", callback=stored_name, help="The same as EXPERIMENT.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"List the first N runs. By default, {_PAGE:,}; with --json, all of them.",
)
@click.option("--all", "everything", is_flag=True, help="List all runs.")
@store_option
@json_option
@quiet_option
def runs(
    name: str | None,
    experiment: str | None,
    limit: int | None,
    everything: bool,
    store: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """List the runs of a store, or of EXPERIMENT, up to its number of steps."""
    from ablab.store import Store

    if name is not None and experiment not in (None, name):
        raise click.UsageError(f"two experiments were given: {name} and {experiment}")
    if everything and limit is not None:
        raise click.UsageError("--limit and --all exclude each other")
    most = sys.maxsize if everything or (as_json and limit is None) else limit or _PAGE
    with progress(quiet, "reading the store"):
        opened = Store(store)
        records, total = _listed(opened, name or experiment, most)
    if as_json:
        print_json_list(vars(record) for record in records)
        return
    _print_runs(list(records))
    if total > most:
        more = "" if name or experiment else "; ablab runs EXPERIMENT lists those of one"
        say(f"the first {most:,} of {total:,} runs: --all lists all{more}", err=True)


def _listed(store: Any, experiment: str | None, most: int) -> tuple[Iterable[Any], int]:
    """The first runs of a store or an experiment, and the number of all."""
    if experiment is not None:
        from ablab.store.metrics import experiment_runs

        found = experiment_runs(store, store.experiment(experiment))
        return found[:most], len(found)
    if most == sys.maxsize:
        return store.each_run(), 0
    return store.run_page(0, most)  # type: ignore[no-any-return]


def _print_runs(records: list[Any]) -> None:
    from ablab.experiments.experiment import variant_label

    print_table(
        [
            "run",
            "experiments",
            "variant",
            "seed",
            "status",
            "step",
            "train_loss",
            "eval_loss",
            "seconds",
        ],
        [
            (
                record.run,
                ", ".join(record.experiments),
                variant_label(record.variant),
                record.seed,
                record.status,
                f"{record.step}/{record.steps}",
                record.train_loss,
                record.eval_loss,
                round(record.seconds, 1),
            )
            for record in records
        ],
        texts=["experiments", "variant"],
        groups=["experiments", "variant"],
    )


@click.command()
@click.argument("run")
@store_option
@json_option
@quiet_option
def show(run: str, store: str, as_json: bool, quiet: bool) -> None:
    """Show everything about a run; RUN is its id or a unique prefix of it."""
    from ablab.config import counted
    from ablab.experiments.experiment import variant_label
    from ablab.experiments.tree import leaves
    from ablab.store import Store
    from ablab.store.run_rows import list_snapshots
    from ablab.store.rungs import pauses_of_run

    opened = Store(store)
    row = opened.run_row(run)
    (record,) = opened.run_records([row["id"]])
    snapshots = list_snapshots(opened, row["id"])
    config, segments = json.loads(row["trajectory"]), json.loads(row["segments"])
    went_back = []
    if "recover" in config["train"]:
        from ablab.store.metrics import read_runs, restarts, unwatched_columns

        frame = read_runs(opened, [row["id"]], unwatched_columns)
        went_back = restarts(frame).get(row["id"], [])
    from ablab.store.artifacts import list_artifacts

    captures, recorded = (list_artifacts(opened, kind, row["id"]) for kind in ("capture", "flight"))
    pauses = pauses_of_run(opened, row["id"])
    if as_json:
        paused = [{"experiment": name, **vars(each)} for name, each in pauses.items()]
        print_json(
            vars(record)
            | ({"paused": paused} if paused else {})
            | {
                "config": config,
                "segments": segments,
                "restarts": [{"step": step, "back_to": back_to} for step, back_to in went_back],
                "snapshots": [
                    asdict(snapshot) | {"has_optimizer": int(snapshot.has_optimizer)}
                    for snapshot in snapshots
                ],
                "captures": [{"step": each.step, "bytes": each.bytes} for each in captures],
                "incidents": [_incident(opened, each) for each in recorded],
                "created": row["created"],
                "updated": row["updated"],
            }
        )
        return
    for key, value in vars(record).items():
        shown = variant_label(value) if key == "variant" else value
        shown = f"{shown:.6g}" if isinstance(shown, float) else shown
        shown = ", ".join(shown) if isinstance(shown, list) else shown
        if key == "error" and shown:  # the exception; its traceback is at the end
            shown = shown.strip().splitlines()[-1]
        if shown not in (None, ""):
            _say_field(key, str(shown))
    _print_pauses(pauses, record.step)
    _say_field("snapshots", ", ".join(str(each.step) for each in snapshots) or "none")
    if captures:
        _say_field("captures", "after steps " + ", ".join(str(each.step) for each in captures))
    for each in recorded:
        _print_incident(_incident(opened, each))
    if went_back:
        shown = ", ".join(f"{step} -> {back_to}" for step, back_to in went_back)
        _say_field("restarts", shown)
    echo("\nconfiguration")
    for path, value in leaves(config):
        say(f"{'.'.join(path)} = {value}", 2)
    echo("\ntrained")
    for each in segments:
        say(
            f"steps {each['from']} to {each['to']}: engine "
            f"{each.get('method', each['engine'])}, width {each['width']}, "
            f"{each['device']}, {counted(each['threads'], 'thread')}, torch {each['torch']}, "
            f"{each['at'][:19].replace('T', ' ')} UTC",
            2,
        )
        for line in [*_verified(each), *_costs(each)]:
            say(line, 4)
    if record.error:
        echo(f"\nerror\n{record.error.rstrip()}")


def _incident(store: Any, incident: Any) -> dict[str, Any]:
    """A recorded incident, with the statistics that moved first."""
    from ablab.read.incidents import moved_first
    from ablab.store.artifacts import read_incident

    moved = moved_first(read_incident(store, incident.run, incident.step), incident.step)
    return {
        "step": incident.step,
        **incident.about,
        "moved_first": [vars(each) for each in moved[:10]],
    }


def _print_pauses(pauses: Mapping[str, Any], step: int) -> None:
    """Where halving paused a run that is at some step, why, and how it resumes."""
    for name, each in pauses.items():
        later = f"{name} with halving=null resumes it" if step <= each.step else "resumed since"
        _say_field("paused", f"by the halving of {name} at step {each.step:,}: {each.why}; {later}")


def _print_incident(incident: dict[str, Any]) -> None:
    loss, before = incident["loss"], incident["before"]
    text = incident["reason"]
    if loss is not None and before is not None:
        text += f", loss {loss:.4g}, previously at most {before:.4g}"
    _say_field("incident", f"step {incident['step']}: {text}")
    for moved in incident["moved_first"][:5]:
        say(
            f"{moved['name']} left its usual range at step {moved['step']}: "
            f"usually {moved['usual']:.3g}, {moved['value']:.3g} at step {moved['at']}",
            15,
        )


def _say_field(name: str, text: str) -> None:
    """What is known about a run."""
    say(f"{name:12} {text}", hanging=13)


def _verified(segment: dict[str, Any]) -> list[str]:
    """How a segment's method was verified, and why it was not the planned one."""
    lines = []
    if segment.get("until_compiled"):
        lines.append("eager, until another process had compiled the program")
    if segment.get("graphs"):
        lines.append("replayed as CUDA graphs, if a replay agreed with a usual step")
    if "verified" in segment:
        loss, gradient, limit = (segment["verified"][k] for k in ("loss", "gradient", "tolerance"))
        lines.append(
            f"compared with eager training alone: loss {loss:.1e}, gradient {gradient:.1e} "
            f"relative; rounding explains {limit:.1e}"
        )
    if "fallback" in segment:
        lines.append(f"not as planned: {segment['fallback']}")
    if "evaluation" in segment:
        lines.append(f"evaluated one run at a time: {segment['evaluation']}")
    return lines


def _costs(segment: dict[str, Any]) -> list[str]:
    """The cost of a training segment as lines of text; what was not measured is omitted."""
    lines = []
    if segment.get("timings"):
        parts = [f"{name} {1e3 * s:.3g} ms" for name, s in segment["timings"].items()]
        lines.append(f"per step and run: {', '.join(parts)}")
    uses = []
    if "memory" in segment:
        uses.append(f"peak memory {segment['memory'] / 2**20:.0f} MiB")
    units = {"cpu": "cores busy", "gpu": "of GPU time busy"}
    uses += [f"{value:.2f} {units[name]}" for name, value in segment.get("load", {}).items()]
    return [*lines, ", ".join(uses)] if uses else lines


@click.command()
@stored_argument("target", metavar="EXPERIMENT|RUN")
@click.option(
    "--columns",
    metavar="NAMES",
    multiple=True,
    help="Columns to print, separated by commas, can be repeated; * and ? are wildcards.",
)
@store_option
@json_option
@quiet_option
def metrics(target: str, columns: tuple[str, ...], store: str, as_json: bool, quiet: bool) -> None:
    """Print one row per run and step (variant keys, seed, columns), as CSV or JSON."""
    from ablab.store import Store
    from ablab.store.metrics import experiment_metrics, run_metrics

    opened = Store(store)
    wanted = [name.strip() for each in columns for name in each.split(",") if name.strip()]
    if any(target in (record.name, record.entry) for record in opened.experiments()):
        with progress(quiet, "reading the metrics"):
            frame = experiment_metrics(opened, opened.experiment(target), wanted)
    else:
        with progress(quiet, "reading the metrics"):
            (run,) = opened.run_records([run_id(opened, target)])
            frame = run_metrics(opened, run.run, wanted, {**run.variant, "seed": run.seed})
    if as_json:
        print_json(frame.to_dicts())
        return
    echo(frame.write_csv(), nl=False)


def run_id(store: Any, target: str) -> str:
    """The id of a run; the error also lists experiments, since either can be given."""
    from ablab.config import InputError, Problem, nearest

    try:
        return str(store.run_row(target)["id"])
    except InputError as error:
        names = [record.name for record in store.experiments()]
        raise InputError(
            Problem(
                f"the store {store.path} has no experiment and no run {target!r}",
                given=target,
                expected="an experiment: " + ", ".join(dict.fromkeys(names)) + "; or a run's id"
                if names
                else "nothing: the store has no experiments yet",
                suggestion=nearest(target, names) or error.problems[0].suggestion,
            )
        ) from error
