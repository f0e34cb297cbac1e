"""``ablab export`` and ``ablab figure``: metrics for other programs, figures of statistics."""

from pathlib import Path
from typing import Any

import click

from ablab.cli.common import (
    check_out,
    echo,
    json_option,
    print_json,
    progress,
    quiet_option,
    say,
    store_option,
    stored_argument,
)

# Endings of names for which an SVG document is the wrong content; other dots are part of a name.
_OTHER_FORMATS = (".png", ".pdf", ".html", ".jpg", ".jpeg", ".eps", ".ps", ".webp", ".gif", ".tiff")


@click.command()
@stored_argument("experiment")
@click.option("--to", "form", required=True, metavar="csv|parquet|tensorboard|wandb")
@click.option(
    "--out", metavar="PATH", help="The file or folder; named after EXPERIMENT by default."
)
@click.option(
    "--columns",
    multiple=True,
    help="Comma-separated names or patterns, can be repeated; all by default.",
)
@click.option(
    "--measure",
    "measures",
    multiple=True,
    metavar="TEXT",
    help="A measure of each run, instead of the metrics; can be repeated (csv, parquet).",
)
@click.option("--project", help="The Weights & Biases project; EXPERIMENT by default.")
@click.option(
    "--offline", is_flag=True, help="Send nothing to Weights & Biases now; run wandb sync later."
)
@store_option
@json_option
@quiet_option
def export(
    experiment: str,
    form: str,
    out: str | None,
    columns: tuple[str, ...],
    measures: tuple[str, ...],
    project: str | None,
    offline: bool,
    store: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Export the metrics of EXPERIMENT to another format, or a measure of each of its runs."""
    check_out(out)
    from ablab.config import counted, visible
    from ablab.logbook.exports import export as write
    from ablab.logbook.exports import export_measures
    from ablab.store import Store

    opened = Store(store)
    wanted = tuple(name.strip() for own in columns for name in own.split(",") if name.strip())
    record = opened.experiment(experiment)
    with progress(quiet, "exporting"):
        if measures:
            path, runs = export_measures(opened, record, form, measures, out)
        else:
            path, runs = write(opened, record, form, out, wanted, project, offline)
    if as_json:
        print_json({"experiment": record.name, "to": form, "path": str(path), "runs": runs})
    else:
        echo(f"{counted(runs, 'run')}: {visible(str(path))}")


@click.command()
@stored_argument("run", metavar="RUN|EXPERIMENT")
@click.argument("name", required=False)
@click.option(
    "--as",
    "kind",
    metavar="FIGURE",
    help="curves (the default), heat, patterns, histogram, or module:name.",
)
@click.option("--out", metavar="FILE", help="The SVG file; named after RUN and NAME by default.")
@store_option
@json_option
@quiet_option
def figure(
    run: str,
    name: str | None,
    kind: str | None,
    out: str | None,
    store: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Draw a statistic or a capture of RUN; NAME can be a pattern (blocks.*: all layers).

    With NAME as ANALYSIS/FIGURE, draw what ablab analyze found in a run or in an experiment.
    Without NAME, list the figures and the names that they can draw.
    """
    check_out(out)
    _check_format(out)
    with progress(quiet, "loading PyTorch"):
        import ablab
        from ablab.analysis.chosen import is_experiment
        from ablab.config.files import write_text_atomically
        from ablab.logbook.draw import draw
        from ablab.logbook.drawn_findings import draw_finding, drawable_findings

        opened = ablab.open(store)
        found = [] if kind else drawable_findings(opened.store, run)
        of_analysis = is_experiment(opened.store, run) or name in {each.name for each in found}
        stored = None if of_analysis else opened.run(run)
    if name is None and kind is None:
        _list_figures(stored, found, as_json)
        return
    if stored is not None:
        kind = kind or "curves"
    with progress(quiet, "drawing"):
        drawing = (
            draw_finding(opened.store, run, name or "")
            if stored is None
            else draw(stored, name, kind or "curves")
        )
    plain = "-".join(
        "".join(c if c.isalnum() or c in "._-" else "_" for c in part)
        for part in (run, name, kind)
        if part is not None
    )
    path = Path(out or f"{plain}.svg")
    write_text_atomically(path, drawing)
    _say({"run": run, "figure": str(path)}, str(path), as_json)


def _check_format(out: str | None) -> None:
    """Rejects a file name of another format, since what is written is an SVG document."""
    from ablab.config import InputError, Problem

    if out is not None and Path(out).suffix.lower() in _OTHER_FORMATS:
        raise InputError(
            Problem(
                "a figure cannot be written in this format",
                "--out",
                given=out,
                expected="a name that ends in .svg; run.plot(…).save in Python also writes PNG, "
                "PDF and HTML",
            )
        )


def _list_figures(run: Any, of_analyses: list[Any], as_json: bool) -> None:
    """Lists the figures of a run, or of an experiment if there is no run."""
    from ablab.config import visible
    from ablab.logbook.draw import Drawable, drawable
    from ablab.logbook.figure import all_figures

    figures = all_figures() if run is not None else []
    names = drawable(run) if run is not None else Drawable([], [])
    if as_json:
        print_json(
            {
                "figures": [
                    {"name": each.name, "shows": each.shows, "about": each.about}
                    for each in figures
                ],
                "statistics": names.statistics,
                "captures": names.captures,
                "analyses": [vars(each) for each in of_analyses],
            }
        )
        return
    for shows, title, found in (
        ("run", "the run itself, drawn as", []),
        ("statistic", "statistics, drawn as", names.statistics or ["none"]),
        ("capture", "captured tensors, drawn as", names.captures or ["none"]),
    ):
        kinds = [each for each in figures if each.shows == shows]
        if kinds:
            echo(title)
            for each in kinds:
                say(f"--as {each.name:10} {each.about}", 2, hanging=16)
            for name in found:
                echo(f"    {visible(name)}")
    if of_analyses:
        echo("what analyses found")
        for each in of_analyses:
            say(f"{each.name}  {each.title}", 2, hanging=4)
    elif run is None:
        say("no findings to draw yet; ablab analyze makes them")


def _say(data: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        print_json(data)
    else:
        echo(text)
