"""``ablab analyses``: lists the analyses of trained models."""

import click

from ablab.cli.common import json_option, print_json, quiet_option, say


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
        say(f"{each.name}  {each.question}", hanging=4)
        say(f"inputs   {', '.join(each.inputs)}", 2, hanging=9)
        say(f"cost     {each.cost}", 2, hanging=9)
        for setting in each.settings_list():
            default = setting.default
            shown = ", ".join(map(str, default)) if isinstance(default, list | tuple) else default
            say(f"setting  {setting.name} (by default {shown}): {setting.about}", 2, hanging=9)
