"""What a notebook shows while an experiment runs."""

import sys
from types import SimpleNamespace

import pytest

from ablab.execute import notebook_status as module
from ablab.execute import status as base
from ablab.execute.notebook_status import JupyterStatus, MarimoStatus, notebook_status
from ablab.execute.status import PlainStatus, status


class Display:
    """Stands for ``IPython.display``, and keeps what it was given."""

    def __init__(self):
        self.shown = []

    def display(self, bundle, **options):
        assert options == {"raw": True, "display_id": True}
        self.shown.append(bundle)
        return self

    def update(self, bundle, raw):
        assert raw
        self.shown.append(bundle)


@pytest.fixture
def display(monkeypatch):
    monkeypatch.setattr(base, "_TICK_SECONDS", 600.0)  # its thread looks at nothing
    return Display()


def test_messages_stay_and_the_bar_goes(display):
    shown = JupyterStatus(display)
    shown.message("2 runs <to train>")
    shown.show(["training 25%", "3.0 s left"])
    shown._tick()
    last = display.shown[-1]
    assert last["text/plain"] == "2 runs <to train>\ntraining 25%, 3.0 s left"
    assert '<i style="width: 25%"></i>' in last["text/html"]
    assert "2 runs &lt;to train&gt;" in last["text/html"]
    shown.warn("run x failed")
    shown.tell("training 100%, 4.0 s spent")
    shown.close()
    last = display.shown[-1]
    assert last["text/plain"] == "2 runs <to train>\nrun x failed\ntraining 100%, 4.0 s spent"
    assert len({id(each) for each in display.shown}) == len(display.shown)


def test_what_is_being_done_is_removed_at_the_end(display):
    shown = JupyterStatus(display)
    shown.show("planning")
    shown._tick()
    assert display.shown[-1]["text/plain"] == "planning, 0 s"
    shown.close()
    assert display.shown[-1]["text/plain"] == ""


def test_nothing_is_displayed_if_nothing_was_done(display):
    JupyterStatus(display).close()
    assert display.shown == []


def test_the_eight_latest_messages_stay(display):
    shown = JupyterStatus(display)
    for number in range(11):
        shown.message(f"message {number}")
    shown.close()
    lines = display.shown[-1]["text/plain"].splitlines()
    assert lines == ["3 earlier messages", *(f"message {number}" for number in range(3, 11))]


def test_warnings_always_stay(display):
    shown = JupyterStatus(display)
    shown.message("message")
    shown.warn("run x failed")
    for number in range(8):
        shown.message(f"message {number}")
    shown.close()
    last = display.shown[-1]
    assert last["text/plain"].splitlines()[:3] == ["1 earlier message", "run x failed", "message 0"]
    assert "1 earlier message<" in last["text/html"]
    assert "run x failed" in last["text/html"]


def test_an_unchanged_line_is_not_sent_again(display, monkeypatch):
    monkeypatch.setattr(module, "_EVERY_SECONDS", 0.0)
    shown = JupyterStatus(display)
    shown.show(["training 25%"])
    shown._tick()
    shown._tick()
    assert len(display.shown) == 1
    shown.close()


class Spinner:
    def __init__(self):
        self.shown = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shown.append("removed")

    def update(self, title, subtitle):
        self.shown.append((title, subtitle))


def test_marimo(monkeypatch, capsys):
    spinner = Spinner()
    fake = SimpleNamespace(
        running_in_notebook=lambda: True,
        status=SimpleNamespace(spinner=lambda title, remove_on_exit: spinner),
    )
    monkeypatch.setitem(sys.modules, "marimo", fake)
    shown = notebook_status()
    assert isinstance(shown, MarimoStatus)
    shown.show(["training 25%", "3.0 s left"])
    shown.show(["training 26%"])  # too soon
    shown.show("writing the entry")
    shown.message("a message")
    shown.close()
    assert spinner.shown == [
        ("training 25%", "3.0 s left"),
        ("writing the entry", ""),
        "removed",
    ]
    assert capsys.readouterr().out == "a message\n"


def test_there_is_no_notebook_in_a_terminal(monkeypatch):
    monkeypatch.delitem(sys.modules, "marimo", raising=False)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert notebook_status() is None

    class TerminalInteractiveShell:
        pass

    fake = SimpleNamespace(get_ipython=TerminalInteractiveShell, display=None)
    monkeypatch.setitem(sys.modules, "IPython", fake)
    assert notebook_status() is None
    fake.get_ipython = lambda: None  # imported, but not running
    assert notebook_status() is None
    with status(False, notebook_status) as shown:
        assert isinstance(shown, PlainStatus)
