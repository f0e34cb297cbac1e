"""``ablab new``: writes a commented experiment to start from."""

from pathlib import Path

import click

from ablab.cli.common import echo, json_option, print_json, quiet_option, say


@click.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--task",
    "task_file",
    metavar="FILE",
    help="Also write a task of your own, with its test, into this Python file.",
)
@json_option
@quiet_option
def new(name: str, task_file: str | None, as_json: bool, quiet: bool) -> None:
    """Write a new experiment, NAME.yaml, with comments; it can be run as it is."""
    from ablab.config import visible
    from ablab.experiments.skeletons import new_experiment

    written = new_experiment(name, None if task_file is None else Path(task_file))
    if as_json:
        print_json({"written": [str(path) for path in written]})
        return
    for path in written:
        echo(visible(str(path)))
    experiment, *rest = (str(path) for path in written)
    echo("")
    if rest:
        say(f"pytest {rest[1]} checks what the task draws; ablab doctor {experiment} the rest.")
    say(f"ablab plan {experiment} estimates the time; ablab run {experiment} trains.")
