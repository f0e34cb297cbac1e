"""``ablab doctor``: checks a model and a task before training."""

import click

from ablab.cli.common import json_option, print_json, progress, quiet_option


@click.command()
@click.argument("subject", metavar="EXPERIMENT|module:Class")
@click.argument("overrides", nargs=-1)
@click.option(
    "--check",
    "checks",
    metavar="NAME|all|module:name",
    multiple=True,
    help="Run only this check; can be repeated. all: those of ablab, beside your own.",
)
@click.option(
    "--meant",
    "meant",
    metavar="CHECK[:KEY=VALUE,…]=REASON",
    multiple=True,
    help="A finding of this check (in these cells) is meant; can be repeated.",
)
@json_option
@quiet_option
def doctor(
    subject: str,
    overrides: tuple[str, ...],
    checks: tuple[str, ...],
    meant: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> int:
    """Check a model and a task for bugs.

    For an experiment (the name of a recipe or a YAML file), every variant is checked; variants of
    equal shape only once. A model class is checked on a small task, a task class with a small
    transformer. OVERRIDES set values, as in ablab run. The exit code is 1 if there are findings,
    other than those that are meant (by --meant, or meant: in the file of the experiment).
    """
    with progress(quiet, "loading PyTorch") as shown:
        from ablab.doctor import doctor as examine
        from ablab.doctor.meant import meant_options

        def tell(message: str) -> None:
            shown.message(f"{message} …")

        known = meant_options(meant)
        report = examine(subject, *overrides, checks=checks or None, meant=known, tell=tell)
    if as_json:
        print_json(report.as_data())
    else:
        click.echo(str(report))
    return 0 if report.healthy else 1
