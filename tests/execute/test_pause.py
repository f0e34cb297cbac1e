import signal
import threading

import pytest

from ablab.execute.pause import PauseError, immediate_pause, pause_on_signals, pausing_on_interrupt

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def paused():
    before = [signal.getsignal(number) for number in NUMBERS]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background has it ignored
    yield pause_on_signals()
    pause_on_signals()  # forgets that a pause was asked for
    for number, handler in zip(NUMBERS, before, strict=True):
        signal.signal(number, handler)


def test_a_signal_requests_a_pause(paused):
    assert not paused()
    signal.raise_signal(signal.SIGTERM)
    assert paused()


def test_asked_again_the_process_ends(paused):
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_what_keeps_nothing_is_left_immediate_pause(paused):
    steps = []
    with pytest.raises(PauseError), immediate_pause():
        steps.append("begun")
        signal.raise_signal(signal.SIGINT)
        steps.append("not reached")
    assert steps == ["begun"]
    assert paused()
    with pytest.raises(PauseError), immediate_pause():  # it had come before
        steps.append("not reached")
    assert steps == ["begun"]


def test_a_pause_passes_by_those_who_try_another_way(paused):
    with pytest.raises(PauseError), immediate_pause():
        try:
            signal.raise_signal(signal.SIGTERM)
        except Exception:
            pytest.fail("taken for an error of the program")


@pytest.fixture
def default_interrupt():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("default_interrupt")
def test_an_interrupt_requests_a_pause_within_the_context_only():
    with pausing_on_interrupt() as paused:
        assert not paused()
        signal.raise_signal(signal.SIGINT)
        assert paused()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pausing_on_interrupt() as paused:  # it is forgotten
        assert not paused()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("default_interrupt")
def test_an_error_restores_what_an_interrupt_does():
    with pytest.raises(ValueError, match="x"), pausing_on_interrupt():
        raise ValueError("x")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("default_interrupt")
def test_a_thread_gets_no_signals():
    found = []

    def work():
        with pausing_on_interrupt() as paused:
            found.append((paused(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, signal.default_int_handler)]
