"""``ablab analyses``: lists the analyses of trained models."""

import click

from ablab.cli.common import json_option, print_json, quiet_option


@click.command()
@json_option
@quiet_option
def analyses(as_json: bool, quiet: bool) -> None:
    """List the analyses, each with its question, its inputs and its cost.

    ablab.analyze(run, "NAME") runs one from Python.
    """
    from ablab.analysis.analysis import all_analyses

    if as_json:
        print_json(
            [
                {
                    "name": each.name,
                    "question": each.question,
                    "inputs": each.inputs,
                    "cost": each.cost,
                    "settings": [vars(setting) for setting in each.settings_list()],
                }
                for each in all_analyses()
            ]
        )
        return
    for each in all_analyses():
        click.echo(f"{each.name}  {each.question}")
        click.echo(f"  inputs   {', '.join(each.inputs)}")
        click.echo(f"  cost     {each.cost}")
        for setting in each.settings_list():
            click.echo(f"  setting  {setting.name} ({setting.default}): {setting.about}")
