"""Access control: a host check on loopback, and a token on other addresses."""

import ipaddress
import re
import secrets
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "ablab-token-{}"  # with the port, because browsers share a host's cookies between ports
_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[0-9A-Za-z.-]+))(?::[0-9]{0,5})?")
_BARE_IPV6 = re.compile(r"[0-9A-Fa-f:.]+")  # as an argument of --host
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
_POLICY = "default-src 'none'; frame-ancestors 'none'"


def is_loopback(host: str) -> bool:
    """Whether an address or host name, with or without a port, is a loopback address."""
    found = _HOST.fullmatch(host)
    if found is None:
        name = host if _BARE_IPV6.fullmatch(host) else ""
    elif found["ipv6"] is None:
        name = found["name"]
    else:
        name = found["ipv6"] if ":" in found["ipv6"] else ""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware that rejects unauthorised requests and sets security headers.

    Args:
        app: The application.
        loopback: Whether the server listens on loopback only. Then the host of a request must be a
            loopback address, which prevents DNS rebinding.
        token: The token that a request must contain, first as ``?token=``, then as a cookie; None
            if requests need none.
    """

    def __init__(self, app: ASGIApp, loopback: bool, token: str | None) -> None:
        self._app = app
        self._loopback = loopback
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Rejects a request or passes it to the application."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("content-security-policy", _POLICY)
            await send(message)

        answer = self._rejection(scope)
        await (answer or self._app)(scope, receive, send_guarded)

    def _rejection(self, scope: Scope) -> Response | None:
        """The response to a request that must not pass, or None."""
        headers = Headers(scope=scope)
        if self._loopback and not is_loopback(headers.get("host", "")):
            return PlainTextResponse("this address serves requests from this machine only\n", 403)
        if self._token is None:
            return None
        cookie = COOKIE.format((scope.get("server") or (None, 0))[1])
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == "token"]
        if any(self._is_token(value) for value in given):
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            # A path that begins with two slashes would lead to another host.
            path = "/" + quote(scope["path"].lstrip("/\\"))
            answer = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
            answer.set_cookie(cookie, self._token, httponly=True, samesite="strict")
            return answer
        if self._is_token(cookie_parser(headers.get("cookie", "")).get(cookie, "")):
            return None
        text = "token required: open the address that ablab serve printed when it started\n"
        return PlainTextResponse(text, 403)

    def _is_token(self, value: str) -> bool:
        assert self._token is not None
        return secrets.compare_digest(value.encode(), self._token.encode())
