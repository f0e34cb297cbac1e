"""Commands that examine before anything is trained."""

import click

from ablab.cli.common import json_option, print_json, quiet_option


@click.command()
@click.argument("subject", metavar="EXPERIMENT|module:Class")
@click.argument("overrides", nargs=-1)
@click.option(
    "--check", "checks", metavar="NAME", multiple=True, help="Make this check alone (repeatable)."
)
@json_option
@quiet_option
def doctor(
    subject: str, overrides: tuple[str, ...], checks: tuple[str, ...], as_json: bool, quiet: bool
) -> int:
    """Check that a model and a task are what they claim to be.

    An experiment (a recipe's name or a YAML file) is examined variant by variant, those of equal
    shape once. A model's class is put on a small task, a task's class under a small transformer.
    OVERRIDES set values, as in run. The exit code is 1 where something was found.
    """
    from ablab.doctor import doctor as examine

    def tell(message: str) -> None:
        if not quiet:
            click.echo(f"{message} …", err=True)

    report = examine(subject, *overrides, checks=checks or None, tell=tell)
    if as_json:
        print_json(report.as_data())
    else:
        click.echo(str(report))
    return 0 if report.healthy else 1
