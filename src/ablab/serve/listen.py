"""Listening: the socket, the address that is told, and the end by Ctrl-C."""

import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import uvicorn

from ablab.config import InputError, Problem
from ablab.serve.app import make_app
from ablab.serve.guard import is_loopback

_PATIENCE = 2  # seconds for answers under way when it ends


def serve(path: Path, host: str, port: int, token: str | None, tell: Callable[[str], None]) -> None:
    """Serves a store until it is interrupted.

    Args:
        path: The store's folder; it need not be there yet.
        host: The address to listen on.
        port: The port; 0 for any that is free.
        token: What requests must bring; where none is given and others than this machine could
            ask, one is made up.
        tell: Told the address, with the token in it, once it listens.

    Raises:
        InputError: The address cannot be had, or the token is empty.
    """
    if token is not None and not token.strip():
        raise InputError(Problem("the token is empty", "--token", expected="some text"))
    loopback = is_loopback(host)
    if token is None and not loopback:
        token = secrets.token_urlsafe(24)
    with _listening(host, port) as listening:
        app = make_app(path, loopback=loopback, token=token)
        config = uvicorn.Config(
            app, http="h11", ws="none", lifespan="off", log_level="warning", access_log=False,
            server_header=False, timeout_graceful_shutdown=_PATIENCE,
        )  # fmt: skip
        tell(_address(host, listening.getsockname()[1], token))
        try:
            uvicorn.Server(config).run(sockets=[listening])
        except KeyboardInterrupt:  # how it is meant to end
            return


def _listening(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        problem = Problem("there is no such port", "--port", given=port, expected="0 to 65535")
        raise InputError(problem)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError(
            Problem(
                f"cannot listen on {host}, port {port} ({error.strerror or error})",
                given=f"--host {host} --port {port}",
                expected="an address of this machine and a free port; --port 0 finds one",
            )
        ) from error


def _address(host: str, port: int, token: str | None) -> str:
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + ("" if token is None else f"?token={quote(token, safe='')}")
