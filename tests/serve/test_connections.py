"""Clients that never finish a request, against servers with real sockets."""

import resource
import socket
import threading
import time
import urllib.request
from contextlib import contextmanager

import pytest

from ablab.serve import connections
from ablab.serve.app import make_app
from ablab.serve.connections import LimitedProtocol, max_connections
from ablab.serve.listen import make_server

PARTIAL = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "


@contextmanager
def serving(folder, early=0):
    """The port of a server in another thread, and clients that connect before it runs."""
    server = make_server(make_app(folder, loopback=True, token=None))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        clients = [connected(port) for _ in range(early)]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield (port, clients) if early else port
        finally:
            for client in clients:
                client.close()
            server.should_exit = True
            thread.join(timeout=20)


def connected(port):
    made = socket.create_connection(("127.0.0.1", port), timeout=10)
    made.sendall(PARTIAL)
    return made


def closed_within(client, seconds):
    """Whether the server closes a connection, while its client goes on sending."""
    end = time.monotonic() + seconds
    client.settimeout(0.05)
    while time.monotonic() < end:
        try:
            client.sendall(b"x")
            if client.recv(1) == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def test_a_request_whose_headers_never_end_is_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(LimitedProtocol, "wait_seconds", 0.3)
    with serving(tmp_path / "lab") as port, connected(port) as client:
        assert closed_within(client, 10)


def test_a_client_that_goes_quiet_after_an_answer_is_closed_too(tmp_path, monkeypatch):
    monkeypatch.setattr(LimitedProtocol, "wait_seconds", 0.3)
    with serving(tmp_path / "lab") as port, socket.socket() as client:
        client.settimeout(10)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert client.recv(15) == b"HTTP/1.1 200 OK"
        while client.recv(65536).find(b"</html>") < 0:
            pass
        client.sendall(PARTIAL)  # ends uvicorn's own timeout
        assert closed_within(client, 10)


def test_many_half_open_requests_do_not_stop_the_server(tmp_path, monkeypatch):
    monkeypatch.setattr(connections, "_MAX_CONNECTIONS", 20)
    with serving(tmp_path / "lab") as port:
        clients = [connected(port) for _ in range(60)]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                assert answer.status == 200
            assert closed_within(clients[0], 10)  # the one that had waited longest
            assert not closed_within(clients[-1], 0.3)
        finally:
            for client in clients:
                client.close()


def test_clients_that_come_at_once_are_counted_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(connections, "_MAX_CONNECTIONS", 20)
    with serving(tmp_path / "lab", early=60) as (port, clients):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert answer.status == 200
        closed = [closed_within(client, 0.1) for client in clients]
        assert 40 <= sum(closed) <= 42


@pytest.mark.parametrize(("files", "expected"), [(1024, 256), (256, 192), (64, 1)])
def test_connections_leave_the_process_some_open_files(monkeypatch, files, expected):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert max_connections() == expected
