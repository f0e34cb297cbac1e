import re

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ablab.serve.guard import COOKIE, Guard, is_loopback


def client(*, loopback=True, token=None, host="127.0.0.1:8765"):
    inner = Starlette(routes=[Route("/page", lambda request: PlainTextResponse("secret"))])
    app = Guard(inner, loopback, token)
    return TestClient(app, base_url=f"http://{host}", follow_redirects=False)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8765",
        "localhost",
        "LOCALHOST:1",
        "[::1]",
        "[::1]:80",
        "::1",
        "127.0.0.2",
        "[0:0:0:0:0:0:0:1]:80",
    ],
)
def test_loopback_is_known(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0.0.0.0",
        "::",
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil",
        "[::2]:80",
        "[::1]evil.example",
        "[::1]evil:80",
        "localhost:evil",
        "evil@127.0.0.1",
        "[::1",
        "[::1]]",
        "localhost:80@evil.com",
        "localhost:٣",
        "localhost:123456",
        "[::1%evil.com]",
        "::1%evil.com",
        "[localhost]",
        "[127.0.0.1]:80",
        "localhost\n",
    ],
)
def test_others_are_not_loopback(host):
    assert not is_loopback(host)


def test_on_loopback_another_sites_name_is_turned_away():
    assert client().get("/page").text == "secret"
    for host in ("evil.example", "localhost.evil.example:8765", ""):
        answer = client().get("/page", headers={"host": host})
        assert answer.status_code == 403 and "secret" not in answer.text


def test_without_the_token_nothing_is_told():
    asking = client(loopback=False, token="right", host="lab.example")
    for path in ("/page", "/page?token=wrong", "/page?token=", "/page?token=%C3%A9", "/nothing"):
        answer = asking.get(path)
        assert answer.status_code == 403 and "secret" not in answer.text
    assert asking.get("/page", headers={"cookie": f"{COOKIE.format(80)}=wrong"}).status_code == 403


def test_the_token_is_given_once_and_kept_in_a_cookie():
    asking = client(loopback=False, token="r/ight", host="lab.example")
    answer = asking.get("/page?a=1&token=r%2Fight&b=2")
    assert (answer.status_code, answer.headers["location"]) == (303, "/page?a=1&b=2")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert asking.get("/page").text == "secret"
    assert COOKIE.format(80) in asking.cookies


def test_every_answer_has_the_security_headers():
    for answer in (client().get("/page"), client().get("/no"), client(token="t").get("/page")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_nothing_can_be_sent():
    for method in ("POST", "PUT", "DELETE"):
        assert client().request(method, "/page").status_code == 405


@pytest.mark.parametrize(
    "path", ["//evil.example/", "///evil.example", "/\\evil.example/", "/http://evil.example/"]
)
def test_the_redirect_stays_on_this_host(path):
    asking = client(loopback=False, token="right", host="lab.example")
    answer = asking.get(f"http://lab.example{path}?token=right")
    assert answer.status_code == 303
    assert re.match(r"/[^/\\]", answer.headers["location"])
