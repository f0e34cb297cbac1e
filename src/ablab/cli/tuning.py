"""The table of what tuning found."""

from typing import Any

import click

from ablab.cli.common import print_table, say


def print_tuning(report: Any) -> None:
    """Prints what tuning found for each variant.

    Args:
        report: A :class:`ablab.read.tuning_report.TuningReport`.
    """
    from ablab.read.tuning_report import NOTE

    click.echo()
    say("Tuning", bold=True)
    header, rows = report.table()
    keys = header[: len(header) - len(report.tuning.over) - 5]
    print_table(header, rows, texts=header, groups=keys)
    click.echo()
    for sentence in (*report.sentences, NOTE):
        say(sentence)
