"""``ablab analyze``: looks inside trained models."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from ablab.cli.common import (
    check_range,
    json_option,
    print_json,
    print_table,
    progress,
    quiet_option,
    say,
    store_option,
    stored_argument,
)

if TYPE_CHECKING:
    from ablab.analysis.finding import Findings
    from ablab.analysis.request import Request
    from ablab.analysis.summary import ScalarSummary

_MAX_SAMPLES = 1_000_000
_MAX_WORKERS = 1024


@click.command()
@stored_argument("name", metavar="EXPERIMENT|RUN")
@click.argument("analyses", nargs=-1, metavar="[ANALYSIS[:key=value,…] …]")
@click.option(
    "--steps",
    default="all",
    show_default=True,
    metavar="all|last|A:B|N,N",
    help="The steps whose snapshots are analyzed; step 0 always is.",
)
@click.option("--where", metavar="CELL", help="Only the runs of a cell: key=value, …")
@click.option(
    "--samples",
    type=int,
    metavar="N",
    help="Look at N samples at most; by default at the whole table of the task if it is small.",
)
@click.option(
    "--workers", type=int, metavar="N", help="Processes at most; by default one per core."
)
@click.option(
    "--details", is_flag=True, help="Print all numbers, each with its lowest and highest value."
)
@store_option
@json_option
@quiet_option
def analyze(
    name: str,
    analyses: tuple[str, ...],
    steps: str,
    where: str | None,
    samples: int | None,
    workers: int | None,
    details: bool,
    store: str,
    as_json: bool,
    quiet: bool,
) -> int:
    """Look inside trained models: each run of an experiment, at each kept step.

    By default, all analyses are made that apply to the task; ablab analyses lists them. What was
    found before is not computed again. Each number is a column analysis/NAME/WHAT of the metrics,
    so ablab read, effects, expect and export can use it. Averages over seeds are printed, medians
    or means as each table says, with the 95% interval of the average of the trained models. Where
    these fall into two groups, the interval gives way to how many are in the lower one.
    """
    check_range(
        {"--samples": samples, "--workers": workers},
        {"--samples": _MAX_SAMPLES, "--workers": _MAX_WORKERS},
    )
    from ablab.config import doing

    with progress(quiet, "loading PyTorch") as shown:
        from ablab.analysis.analyze import compute, load, shown_on
        from ablab.analysis.chosen import choose, stored_runs
        from ablab.analysis.examine import told
        from ablab.analysis.request import default_requests, parse_request
        from ablab.analysis.subject import Probing
        from ablab.execute.pause import pause_on_signals
        from ablab.store.store import Store

        probing = Probing(samples)
        requests = [parse_request(each, probing) for each in analyses]
        requests = requests or default_requests(probing)
        opened = Store(store)
        chosen = choose(stored_runs(opened, name, where), steps)

        with doing("analyzing"):
            paused = pause_on_signals()
            tell = shown_on(shown, chosen)
            done = compute(opened, chosen, requests, tell, workers, should_pause=paused)
    if not done.complete:
        say("interrupted; run the same command again to continue", err=True)
        return 130
    found = [(each, load(opened, chosen, each, done.failures)) for each in requests]
    if as_json:
        print_json(
            {
                "models": chosen.models,
                "computed": done.asked - done.stored,
                "stored": done.stored,
                "notes": chosen.notes,
                "failures": [vars(each) for each in done.failures],
                "analyses": [_as_data(own) for _, own in found],
            }
        )
    else:
        _print(found, details, chosen.notes)
        for note in chosen.notes:
            say(note)
        for text in told(done.failures):
            say(text, err=True)
    return 1 if done.failures else 0


def _print(found: "list[tuple[Request, Findings]]", details: bool, told: Sequence[str]) -> None:
    """Prints findings, and the notes of those without numbers that are not told anyway."""
    from ablab.analysis.summary import summarise

    skipped = []
    for request, own in found:
        if not own.scalars.height:
            skipped.append(own)
            continue
        analysis = request.analysis
        say(f"{request.name}  {own.question}", hanging=4, bold=True)
        rows, more = summarise(own, ["*"] if details else analysis.headline, analysis.limits)
        if details:
            _print_details(rows)
        else:
            _print_averages(rows)
        if more:
            noun = "number" if more == 1 else "numbers"
            say(f"and {more:,} further {noun}: --details, or columns analysis/{request.name}/…")
        for note in own.notes:  # that it does not apply to some of the models
            if note not in told:
                say(note)
        click.echo()
    for own in skipped:
        for note in own.notes:
            if note not in told:
                say(note)


def _print_details(rows: "list[ScalarSummary]") -> None:
    """Medians with the lowest and the highest value, of all runs."""
    variants = any(row.variant for row in rows)
    header = ["variant"] * variants + ["number", "untrained", "trained", "runs"]
    cells = [
        [row.variant] * variants
        + [row.name, row.untrained or "none", row.trained or "none", row.runs]
        for row in rows
    ]
    print_table(header, cells, texts=["variant", "number"], groups=["variant"] * variants)


def _print_averages(rows: "list[ScalarSummary]") -> None:
    """A line for each variant and number: its averages, and the interval of the trained one.

    Medians and means are separate tables.
    """
    ordered = [
        row
        for _, own in groupby(rows, lambda row: row.variant)
        for row in sorted(own, key=lambda row: row.statistic == "mean")
    ]
    for (variant, runs, statistic), own in groupby(
        ordered, lambda row: (row.variant, row.runs, row.statistic)
    ):
        of = f"{statistic}s over {runs} runs" if runs > 1 else "1 run"
        same = list(own)
        low, high = min(row.steps[0] for row in same), max(row.steps[1] for row in same)
        after = f", trained for {low:,} to {high:,} steps" if low < high else ""
        say(f"{variant}, {of}{after}" if variant else f"{of}{after}", hanging=4)
        print_table(["number", "untrained", "trained", "95% interval"], map(_line, same), indent=2)


def _line(row: "ScalarSummary") -> list[str]:
    trained, untrained = row.trained, row.untrained
    if trained is None:
        last = ["none", ""]
    else:
        ends, groups = trained.interval, trained.groups
        shown = "" if ends is None else f"[{ends[0]:.3g}, {ends[1]:.3g}]"
        if groups is not None:
            shown = f"{groups[0]} of {trained.runs} below {groups[1]:.3g}"
        some = f"{trained.runs} of {row.runs}" if trained.runs < row.runs else ""
        last = [f"{trained.average:.4g}", " ".join(each for each in (shown, some) if each)]
    before = "none" if untrained is None else f"{untrained.of(row.statistic or 'median'):.4g}"
    return [row.name, before, *last]


def _as_data(found: "Findings") -> dict[str, Any]:
    return {
        "name": found.analysis,
        "question": found.question,
        "settings": found.settings.model_dump(mode="json"),
        "notes": found.notes,
        "scalars": found.scalars.to_dicts(),
        "tables": {name: table.height for name, table in found.tables.items()},
        "arrays": sorted(found.arrays),
    }
