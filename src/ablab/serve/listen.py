"""Runs the server: opens the socket, reports the address, and stops on Ctrl-C."""

import re
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import uvicorn

from ablab.config import InputError, Problem
from ablab.serve.app import make_app
from ablab.serve.connections import LimitedProtocol
from ablab.serve.guard import Guard, is_loopback

_TOKEN = re.compile(r"[!#-+\--:<-\[\]-~]{1,1000}")
_BACKLOG = 64  # connections accepted at a time, before the limit on connections counts them
_PATIENCE = 2  # seconds that open requests get at shutdown


def serve(path: Path, host: str, port: int, token: str | None, tell: Callable[[str], None]) -> None:
    """Serves a store until it is interrupted.

    Args:
        path: The store's folder, which need not exist yet.
        host: The address to listen on.
        port: The port; 0 for any free port.
        token: The token that requests must contain. If None, a token is generated unless the
            address is a loopback address.
        tell: Called with the address, including the token, once the server listens.

    Raises:
        InputError: The address is not available, or the token is empty.
    """
    if token is not None and not token.strip():
        raise InputError(Problem("the token is empty", "--token", expected="some text"))
    if token is not None and not _TOKEN.fullmatch(token):  # it has to fit into a cookie
        expected = "letters, digits and punctuation, without spaces, quotes, commas, \\ and ;"
        raise InputError(Problem("the token is not valid", "--token", expected=expected))
    if not host:
        raise InputError(
            Problem("the host is empty", "--host", expected="127.0.0.1, 0.0.0.0 or ::")
        )
    loopback = is_loopback(host)
    if token is None and not loopback:
        token = secrets.token_urlsafe(24)
    with _listening(host, port) as listening:
        app = make_app(path, loopback=loopback, token=token)
        server = make_server(app)
        tell(_address(host, listening.getsockname()[1], token))
        try:
            server.run(sockets=[listening])
        except KeyboardInterrupt:  # the normal way to stop
            return


def make_server(app: Guard) -> uvicorn.Server:
    """The web server of an application, which limits connections."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=LimitedProtocol,
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_PATIENCE,
            backlog=_BACKLOG,
        )
    )


def _listening(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        problem = Problem("invalid port", "--port", given=port, expected="0 to 65535")
        raise InputError(problem)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        host.encode("idna")  # otherwise the socket would stay open
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a host name"
        raise InputError(
            Problem(
                f"cannot listen on {host}, port {port} ({reason})",
                given=f"--host {host} --port {port}",
                expected="an address of this machine and a free port; --port 0 picks a free one",
            )
        ) from error


def _address(host: str, port: int, token: str | None) -> str:
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + ("" if token is None else f"?token={quote(token, safe='')}")
