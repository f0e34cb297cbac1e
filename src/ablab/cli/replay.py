"""The command that trains steps again, with more watched."""

from typing import Any

import click

from ablab.cli.common import json_option, print_json, quiet_option, store_option


@click.command()
@click.argument("run")
@click.option("--steps", metavar="A:B", help="Which steps, both ends among them; all by default.")
@click.option(
    "--watch",
    multiple=True,
    metavar="PATTERN",
    help="Statistics to add, FAMILY/SITE-OR-PARAMETER/REDUCER; may be given again.",
)
@click.option("--every", default=1, show_default=True, help="Take statistics at every N-th step.")
@click.option(
    "--capture",
    multiple=True,
    metavar="PATTERN",
    help="Tensors to keep (a site, or FAMILY/NAME); may be given again.",
)
@click.option(
    "--capture-every", type=int, metavar="N", help="Steps between captures; about ten in all else."
)
@click.option(
    "--samples", default=8, show_default=True, help="Samples of the captures' probe batch."
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda|mps")
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
    device: str,
    store: str,
    as_json: bool,
    quiet: bool,
) -> int:
    """Train steps of a stored run again, with more watched; RUN is its id or its beginning.

    The losses are compared with the stored ones, and what is watched is added to the run's table.
    """
    import ablab
    from ablab.config import InputError

    for name, value in {
        "--every": every,
        "--capture-every": capture_every,
        "--samples": samples,
    }.items():
        if value is not None and value < 1:
            raise InputError(f"{name} {value} is below 1")
    opened = ablab.open(store)

    def tell(step: int, last: int) -> None:
        if not quiet:
            click.echo(f"\rstep {step} of {last}", nl=False, err=True)

    try:
        found = opened.replay(
            run,
            _range(steps),
            watch=watch,
            every=every,
            capture=capture,
            capture_every=capture_every,
            samples=samples,
            device=device,  # type: ignore[arg-type]
            tell=tell,
        )
    finally:
        if not quiet:
            click.echo(err=True)
    if as_json:
        print_json(vars(found))
    else:
        _print(found)
    return 0 if found.agrees else 1


def _range(steps: str | None) -> tuple[int, int] | None:
    from ablab.config import InputError, Problem

    if steps is None:
        return None
    first, colon, last = steps.partition(":")
    if not first.isdigit() or (colon and not last.isdigit()):
        raise InputError(Problem("--steps is no range", "--steps", given=steps, expected="A:B"))
    return int(first), int(last if colon else first)


def _print(found: Any) -> None:
    click.echo(
        f"run {found.run}, trained again from step {found.start} ({'; '.join(found.methods)})"
    )
    if found.where is None:
        click.echo(f"losses: all {found.compared} equal the stored ones bit for bit")
    else:
        click.echo(
            f"losses: {found.equal} of {found.compared} equal the stored ones bit for bit; "
            f"the first other one is at step {found.first_difference}, the largest relative "
            f"difference {found.difference:.2g}, at step {found.where}"
        )
    if not found.agrees:
        click.echo(
            "that is more than rounding explains over so few steps: another release, machine or "
            "corpus, or a run that amplifies rounding",
            err=True,
        )
    if found.columns:
        click.echo(f"added: {len(found.columns)} statistics at {found.rows} steps")
    if found.captured:
        shown = ", ".join(map(str, found.captured[:12])) + (
            ", …" if len(found.captured) > 12 else ""
        )
        click.echo(f"captured: after steps {shown}")
