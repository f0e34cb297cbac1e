"""The page of claims, in Markdown."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from ablab.config import is_file
from ablab.config.files import write_text_atomically
from ablab.logbook.claims.of_recipes import RecipeClaims, corrected, tally
from ablab.logbook.page import templates
from ablab.store.store import ExperimentRecord


def write_page(found: Sequence[RecipeClaims], path: Path, command: str) -> None:
    """Writes the page of claims in Markdown.

    The page includes text written by hand: ``FINDINGS.md`` and ``FINDINGS-LOGBOOK.md`` in the
    folder next to the page that has the same name (``docs/logbooks/`` for ``docs/logbooks.md``).

    Raises:
        WriteError: The page cannot be written.
    """
    by_hand = path.parent / path.stem
    found, families = corrected(found)
    groups: dict[str, list[RecipeClaims]] = {}
    for each in found:
        groups.setdefault(each.logbook, []).append(each)
    seconds = {run: took for each in found for run, took in each.seconds_by_run.items()}
    machines = {_machine(each.record): None for each in found if each.record is not None}
    text = templates().get_template("claims.md.j2").render(
        date=date.today().isoformat(),
        command=command,
        tally=tally(found),
        machines=list(machines),
        seconds=sum(seconds.values()),
        runs=len(seconds),  # recipes share runs
        words=_by_hand(by_hand / "FINDINGS.md"),
        states={
            (each.name, claim.expectation.sentence): claim.state
            for each in found
            for claim in each.claims
        },
        logbooks=[
            (
                name,
                members,
                tally(members),
                families[name].sentence("claim"),
                _by_hand(by_hand / f"FINDINGS-{name}.md"),
            )
            for name, members in groups.items()
        ],
    )  # fmt: skip
    write_text_atomically(path, text)


def _by_hand(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if is_file(path) else ""


def _machine(record: ExperimentRecord) -> str:
    """The machine and the versions with which an experiment was registered."""
    known = record.environment
    packages = ", ".join(f"{name} {number}" for name, number in known["packages"].items())
    return (
        f"{known['processor']}, {known['cores']} core{'' if known['cores'] == 1 else 's'}, "
        f"{known['memory']}; "
        f"Python {known['python']}, {packages}"
    )
