"""``ablab replay``: retrains steps of a run with more statistics."""

import re
from typing import Any

import click

from ablab.cli.common import (
    check_range,
    json_option,
    print_json,
    progress,
    quiet_option,
    say,
    source_option,
    store_option,
)

_MAX_STEP = 10**12
_MAX_SAMPLES = 65_536  # as in watch.captures
_STEP = re.compile(r"[0-9]{1,13}")


@click.command()
@click.argument("run")
@click.option(
    "--steps", metavar="A:B", help="The range of steps, including both ends; all by default."
)
@click.option(
    "--watch",
    multiple=True,
    metavar="PATTERN",
    help="Statistics to add, FAMILY/SITE-OR-PARAMETER/REDUCER; can be repeated.",
)
@click.option("--every", default=1, show_default=True, help="Compute statistics every N steps.")
@click.option(
    "--capture",
    multiple=True,
    metavar="PATTERN",
    help="Tensors to capture (a site, or FAMILY/NAME); can be repeated.",
)
@click.option(
    "--capture-every",
    type=int,
    metavar="N",
    help="Steps between captures; by default about ten captures.",
)
@click.option(
    "--samples", default=8, show_default=True, help="Samples in the probe batch of captures."
)
@click.option(
    "--anyway",
    is_flag=True,
    help="Add the results even if the losses differ from the stored ones, or these are lost.",
)
@click.option(
    "--break-leases", is_flag=True, help="Take the run from another process that has leased it."
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda|mps")
@source_option
@store_option
@json_option
@quiet_option
def replay(
    run: str,
    steps: str | None,
    watch: tuple[str, ...],
    every: int,
    capture: tuple[str, ...],
    capture_every: int | None,
    samples: int,
    anyway: bool,
    break_leases: bool,
    device: str,
    source: Any,
    store: str,
    as_json: bool,
    quiet: bool,
) -> int:
    """Retrain steps of a stored run with more statistics; RUN is its id or a prefix of it.

    Compares the losses with the stored ones. If they agree, the new statistics are added to the
    metrics of the run.
    """
    check_range(
        {"--every": every, "--capture-every": capture_every, "--samples": samples},
        {"--every": _MAX_STEP, "--capture-every": _MAX_STEP, "--samples": _MAX_SAMPLES},
    )
    from ablab.config import doing

    with progress(quiet, "loading PyTorch") as shown:
        import ablab

        opened = ablab.open(store)

        def tell(step: int, last: int) -> None:
            shown.show(f"replaying: step {step:,} of {last:,}")

        with doing("replaying"):
            found = opened.replay(
                run,
                _range(steps),
                watch=watch,
                every=every,
                capture=capture,
                capture_every=capture_every,
                samples=samples,
                anyway=anyway,
                break_leases=break_leases,
                device=device,  # type: ignore[arg-type]
                source=source,
                tell=tell,
            )
    if as_json:
        print_json({**vars(found), "agrees": found.agrees})
    else:
        _print(found)
    return 0 if found.agrees else 1


def _range(steps: str | None) -> tuple[int, int] | None:
    from ablab.config import InputError, Problem

    if steps is None:
        return None
    first, colon, last = steps.partition(":")
    if not _STEP.fullmatch(first) or (colon and not _STEP.fullmatch(last)):
        raise InputError(Problem("--steps is not a range", "--steps", given=steps, expected="A:B"))
    return int(first), int(last if colon else first)


def _print(found: Any) -> None:
    say(found.heading)
    for note in found.notes:
        say(note, err=True)
    say(found.losses)
    if found.note is not None:
        say(found.note, err=True)
    if found.compared and not found.agrees:
        say(
            "this is more than rounding explains over so few steps; causes can be a different "
            "release, machine or corpus, or a run that amplifies rounding errors",
            err=True,
        )
    if not found.added and (found.columns or found.captured):
        say("nothing was added; --anyway adds it", err=True)
    for addition in found.additions:
        say(addition)
