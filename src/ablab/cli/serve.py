"""``ablab serve``: shows a store in a browser while it trains."""

from pathlib import Path

import click

from ablab.cli.common import echo, json_option, print_json, quiet_option, store_option


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8765, show_default=True, help="The port; 0 selects a free one.")
@click.option(
    "--token",
    metavar="TEXT",
    help="Require this token; by default generated if --host is not loopback.",
)
@click.option("--open", "opening", is_flag=True, help="Open the page in a browser.")
@store_option
@json_option
@quiet_option
def serve(
    host: str, port: int, token: str | None, opening: bool, store: str, as_json: bool, quiet: bool
) -> None:
    """Show the logbook, its entries and runs in a browser, live during training.

    The store is never modified. Press Ctrl-C to stop.
    """
    from ablab.serve.listen import serve as listen

    def tell(address: str) -> None:
        if as_json:
            print_json({"url": address, "store": store})
        else:
            echo(address)
        if not quiet:
            echo(f"serving the store {store}; press Ctrl-C to stop", err=True)
        if opening:
            import webbrowser

            webbrowser.open(address)

    listen(Path(store), host, port, token, tell)
