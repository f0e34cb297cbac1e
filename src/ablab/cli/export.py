"""``ablab export`` and ``ablab figure``: metrics for other programs, figures of statistics."""

from pathlib import Path
from typing import Any

import click

from ablab.cli.common import json_option, print_json, quiet_option, store_option


@click.command()
@click.argument("experiment")
@click.option("--to", "form", required=True, metavar="csv|parquet|tensorboard|wandb")
@click.option(
    "--out", metavar="PATH", help="The file or folder; named after EXPERIMENT by default."
)
@click.option("--columns", default="", help="Comma-separated names or patterns; all by default.")
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
    columns: str,
    project: str | None,
    offline: bool,
    store: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Export the metrics of EXPERIMENT to another format."""
    from ablab.config import counted
    from ablab.logbook.exports import export as write
    from ablab.store import Store

    opened = Store(store)
    wanted = tuple(name.strip() for name in columns.split(",") if name.strip())
    record = opened.experiment(experiment)
    path, runs = write(opened, record, form, out, wanted, project, offline)
    if as_json:
        print_json({"experiment": record.name, "to": form, "path": str(path), "runs": runs})
    else:
        click.echo(f"{counted(runs, 'run')}: {path}")


@click.command()
@click.argument("run")
@click.argument("name")
@click.option(
    "--as",
    "kind",
    default="curves",
    show_default=True,
    metavar="curves|heat|patterns|histogram",
    help="Statistics as curves or a heat map by layer; captures as patterns or a histogram.",
)
@click.option("--out", metavar="FILE", help="The SVG file; named after RUN and NAME by default.")
@store_option
@json_option
@quiet_option
def figure(
    run: str, name: str, kind: str, out: str | None, store: str, as_json: bool, quiet: bool
) -> None:
    """Draw a statistic or a capture of RUN; NAME can be a pattern (blocks.*: all layers)."""
    import ablab
    from ablab.logbook.draw import draw
    from ablab.store.files import write_text_atomically

    drawing = draw(ablab.open(store).run(run), name, kind)
    plain = "".join(c if c.isalnum() or c in "._-" else "_" for c in name)
    path = Path(out or f"{run}-{plain}-{kind}.svg")
    write_text_atomically(path, drawing)
    _say({"run": run, "figure": str(path)}, str(path), as_json)


def _say(data: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        print_json(data)
    else:
        click.echo(text)
