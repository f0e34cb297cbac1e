"""Commands that hand results on: exports, and figures of what was watched."""

from pathlib import Path
from typing import Any

import click

from ablab.cli.common import json_option, print_json, quiet_option, store_option


@click.command()
@click.argument("experiment")
@click.option("--to", "form", required=True, metavar="csv|parquet|tensorboard|wandb")
@click.option("--out", metavar="PATH", help="The file or folder; named after EXPERIMENT else.")
@click.option("--columns", default="", help="Comma-separated names or patterns; all by default.")
@click.option("--project", help="The project of Weights & Biases; EXPERIMENT else.")
@click.option("--offline", is_flag=True, help="Send nothing to Weights & Biases; sync it later.")
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
    """Write the metrics of EXPERIMENT in another program's form."""
    from ablab.logbook.exports import export as write
    from ablab.store import Store

    opened = Store(store)
    wanted = tuple(name.strip() for name in columns.split(",") if name.strip())
    record = opened.experiment(experiment)
    path, runs = write(opened, record, form, out, wanted, project, offline)
    if as_json:
        print_json({"experiment": record.name, "to": form, "path": str(path), "runs": runs})
    else:
        click.echo(f"{runs} runs: {path}")


@click.command()
@click.argument("run")
@click.argument("name")
@click.option(
    "--as",
    "kind",
    default="curves",
    show_default=True,
    metavar="curves|heat|patterns|histogram",
    help="Statistics as curves by layer or a heat map; captured tensors as patterns or histogram.",
)
@click.option("--out", metavar="FILE", help="The SVG file; named after RUN and NAME else.")
@store_option
@json_option
@quiet_option
def figure(
    run: str, name: str, kind: str, out: str | None, store: str, as_json: bool, quiet: bool
) -> None:
    """Draw what was watched of RUN: a statistic's NAME (blocks.*: all layers), or a capture's."""
    import ablab
    from ablab.config.files import write_text_atomically
    from ablab.logbook.draw import draw

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
