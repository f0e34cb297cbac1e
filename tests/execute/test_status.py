"""The line that says what is being done: when it is shown, and how it fits."""

import io

import pytest

from ablab.config.progress import doing, showing, ticking
from ablab.execute import status
from ablab.execute.status import PlainStatus, TerminalStatus, duration


@pytest.fixture
def clock(monkeypatch):
    """The time, in a list of one number; the threads of displays look at nothing."""
    now = [100.0]
    monkeypatch.setattr(status, "_TICK_SECONDS", 600.0)
    monkeypatch.setattr(status.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def plain(clock):
    stream = io.StringIO()
    made = PlainStatus(stream)
    yield made, stream
    made.close()


def look(display, clock, seconds):
    clock[0] += seconds
    display._tick()


def test_plain_lines_come_within_two_seconds_and_then_every_ten(plain, clock):
    display, stream = plain
    display.show("planning")
    look(display, clock, 1.0)
    assert stream.getvalue() == ""
    look(display, clock, 0.75)
    assert stream.getvalue() == "planning, 2 s\n"
    display.show("compiling")
    look(display, clock, 9.0)
    assert stream.getvalue() == "planning, 2 s\n"
    look(display, clock, 1.25)
    assert stream.getvalue() == "planning, 2 s\ncompiling, 10 s\n"


def test_a_message_takes_the_place_of_a_plain_line(plain, clock):
    display, stream = plain
    display.show("planning")
    display.message("7 runs to train")
    look(display, clock, 9.5)
    assert stream.getvalue() == "7 runs to train\n"
    display.show(None)
    look(display, clock, 60.0)
    assert stream.getvalue() == "7 runs to train\n"


def test_the_time_is_that_of_the_activity_whatever_its_details(plain, clock):
    display, stream = plain
    display.show("replaying: step 10 of 300")
    clock[0] += 65.0
    display.show("replaying: step 20 of 300")
    look(display, clock, 5.0)
    assert stream.getvalue() == "replaying: step 20 of 300, 1 min 10 s\n"


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (120, "training 45%  1 min 20 s left  stack 2 of 8: step 120 of 300, loss 1.2340  "
              "model.d_model=8 (3 runs)"),
        (80, "training 45%  1 min 20 s left  stack 2 of 8: step 120 of 300, loss 1.2340"),
        (40, "training 45%  1 min 20 s left"),
        (8, "traini…"),
    ],
)  # fmt: skip
def test_the_last_parts_are_left_out_where_they_do_not_fit(clock, monkeypatch, columns, line):
    monkeypatch.setenv("COLUMNS", str(columns))
    display = TerminalStatus(io.StringIO())
    display.show(
        ["training 45%", "1 min 20 s left", "stack 2 of 8: step 120 of 300, loss 1.2340",
         "model.d_model=8 (3 runs)"]
    )  # fmt: skip
    assert display.line().plain == line
    display.close()


def test_quiet_shows_warnings_only(capsys):
    with status.status(quiet=True) as shown, doing("planning"):
        shown.message("a message")
        shown.tell("how far")
        shown.warn("a warning")
    assert capsys.readouterr() == ("", "a warning\n")


def test_messages_stay_where_there_is_no_terminal(capsys):
    with status.status(quiet=False) as shown, doing("planning"):
        shown.message("one")
    assert capsys.readouterr() == ("", "one\n")


def test_inner_activities_are_shown_until_they_end():
    shown = []
    with showing(shown.append), doing("running"):
        with doing("compiling"):
            pass
        for _ in ticking("ab", 2, "reading", "curve"):
            pass
    assert shown == [
        "running", "compiling", "running", "reading 2 curves", "reading 2 curves: 1 done",
        "running", None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.56, "4.6 s"), (45.2, "45 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


class Gone(io.StringIO):
    """A stream whose reader has gone, as that of ``ablab run … 2>&1 | head`` has."""

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("kind", [PlainStatus, TerminalStatus])
def test_what_nobody_reads_any_more_stops_nothing(clock, kind):
    stream = Gone()
    display = kind(stream)
    display.show("planning")
    display.message("7 runs to train")
    display.warn("one of them is odd")
    look(display, clock, 20.0)
    display.close()


def test_a_closed_stream_stops_nothing(clock, monkeypatch):
    stream = io.StringIO()
    display = PlainStatus(stream)
    stream.close()
    display.message("7 runs to train")
    display.close()
    monkeypatch.setattr(status.sys, "stderr", Gone())
    status.QuietStatus().warn("one of them is odd")
