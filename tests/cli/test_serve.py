import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from tests.cli.command import run_command


@pytest.fixture
def started():
    """Starts ``ablab serve`` as a process of its own; ends it where a test has not."""
    processes = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "ablab", "serve", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_it_serves_until_it_is_interrupted(started, tmp_path):
    process = started("--store", str(tmp_path / "lab"), "--json")
    text = ""
    while not text.rstrip().endswith("}"):
        text += process.stdout.readline()
    url = json.loads(text)["url"]
    assert url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(url) as answer:
        assert "There is no store here yet" in answer.read().decode()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert not (tmp_path / "lab").exists()


def test_beyond_loopback_a_token_is_made_up_and_asked_for(started, tmp_path):
    process = started("--store", str(tmp_path / "lab"), "--host", "0.0.0.0", "--quiet")
    url = process.stdout.readline().strip()
    plain, _, token = url.partition("?token=")
    assert len(token) >= 32
    plain = f"http://127.0.0.1:{plain.rstrip('/').rpartition(':')[2]}/"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(plain)
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with browser.open(f"{plain}?token={token}") as answer:
        assert answer.geturl() == plain
        assert answer.status == 200


def test_a_port_in_use_is_said():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = run_command("serve", "--port", str(port))
    assert (code, out) == (2, "")
    assert f"cannot listen on 127.0.0.1, port {port}" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "99999"], "invalid port"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
        (["--token", " "], "the token is empty"),
    ],
)
def test_wrong_input_is_said(arguments, said):
    code, out, err = run_command("serve", *arguments)
    assert (code, out) == (2, "")
    assert said in err and "Traceback" not in err
