"""Replayed calls are the usual ones, and what is recorded is given back."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from ablab.train.cuda_graphs import (
    CudaRecorder,
    Recording,
    RefusedError,
    Replayed,
)
from tests.train.recording import record, undone

CPU = torch.device("cpu")
COMPARED = 3  # the call that is made both ways, from 0: two usual ones, and one that is recorded


class Counted:
    """Adds its argument to a state and returns both sums; counts its calls."""

    def __init__(self):
        self.state, self.calls = torch.zeros(3), 0

    def __call__(self, given):
        self.calls += 1
        self.state += given
        return self.state * 2, given * given


def usual_calls(replayed, function):
    """Makes calls, each of which must give and leave what a usual call does; yields each number."""
    plain = Counted()
    for number in range(9):
        given = torch.arange(3.0) + number
        found, wanted = replayed(given), plain(given)
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True)), number
        assert torch.equal(function.state, plain.state)
        assert torch.equal(given, torch.arange(3.0) + number), "arguments are not changed"
        yield number


def test_a_call_is_replayed_with_its_own_arguments_after_it_was_compared():
    function = Counted()
    replayed = Replayed(function, [function.state], record)
    for number in usual_calls(replayed, function):
        assert replayed.replays == (number >= COMPARED)
    assert replayed.failed is None


def stale(call):
    """A graph that repeats the results of its recording."""
    with undone():
        found = [each.clone() for each in call()]
    results = record(call).results

    def repeat():
        for place, value in zip(results, found, strict=True):
            place.copy_(value)

    return Recording(results, repeat, lambda: None)


def idle(call):
    """A graph that does nothing."""
    results = record(call).results
    for place in results:
        place.detach().fill_(torch.nan)
    return Recording(results, lambda: None, lambda: None)


def refused(call):
    """A recording that fails, after some of the work."""
    with undone():
        call()
    raise RefusedError("operation not permitted when stream is capturing")


def too_large(call):
    """A device without memory for a graph."""
    with undone():
        call()
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("record", [stale, idle, refused, too_large])
def test_a_graph_that_is_wrong_or_refused_is_not_replayed_and_nothing_is_lost(record):
    function = Counted()
    replayed = Replayed(function, [function.state], record)
    assert len(list(usual_calls(replayed, function))) == 9
    assert not replayed.replays
    words = {refused: "operation not permitted", too_large: "out of memory"}
    assert words.get(record, "differs") in replayed.failed


def test_what_is_no_number_is_alike_and_what_is_finite_only_once_is_not():
    def both(given):
        return given / given, given / torch.zeros_like(given)

    for broken in (False, True):

        def written(call, broken=broken):
            return (idle if broken else record)(call)

        replayed = Replayed(both, [], written)
        for _ in range(5):
            found = replayed(torch.tensor([0.0, 1.0, -2.0]))
        np.testing.assert_array_equal(found[0], [np.nan, 1, 1])
        np.testing.assert_array_equal(found[1], [np.nan, np.inf, -np.inf])
        assert replayed.replays is not broken


def test_an_adopted_argument_is_read_where_it_lies_or_copied_there():
    def double(first, second):
        first.mul_(2)  # as an update overwrites the gradient
        return (first + second,)

    place, replayed = torch.zeros(2), Replayed(double, [], record, 0, lambda given: given is place)
    for number in range(9):
        given = place if number not in (0, 1, 6) else torch.zeros(2)
        given.fill_(number)
        (found,) = replayed(given, torch.ones(2))
        assert found.tolist() == [2 * number + 1.0] * 2
        assert replayed.replays == (number >= 3), "recorded when it first finds its place"
        assert (given.tolist() == [2.0 * number] * 2) == (given is place or number < 2)


def test_a_run_among_many_that_differs_is_noticed():
    """Of runs with gradients of very different size, as where one diverges."""
    scale = torch.tensor([1e9, 1.0, 1e-9])[:, None]
    state = scale * torch.ones(3, 4)

    def wrong(call):
        recording = record(call)

        def replay():
            recording.replay()
            recording.results[0][2] *= 1.01

        return Recording(recording.results, replay, lambda: None)

    for way, agrees in ((record, True), (wrong, False)):
        replayed = Replayed(lambda given: (state * given,), [], way)
        for _ in range(5):
            replayed(torch.ones(4))
        assert replayed.replays is agrees


def test_a_comparison_that_does_not_fit_leaves_a_usual_call():
    function = Counted()

    def full(given):
        if function.calls == COMPARED + 1:  # recording has made a call as well
            function.calls += 1
            function.state += 5  # half of the work
            raise torch.OutOfMemoryError("CUDA out of memory")
        return function(given)

    replayed = Replayed(full, [function.state], record)
    assert len(list(usual_calls(replayed, function))) == 9
    assert "out of memory" in replayed.failed
    assert not replayed.replays


class NoGraph:
    """A graph of a machine without a device; whether it was given back."""

    refuses = False

    def __init__(self):
        self.given_back = False

    def reset(self):
        if self.refuses:
            raise RuntimeError("still recording")
        self.given_back = True

    def replay(self):
        raise AssertionError("there is nothing to replay")


class NoStream:
    """One of three streams, which are given in turn."""

    made = 0

    def __init__(self):
        self.cuda_stream = NoStream.made % 3
        NoStream.made += 1


@pytest.fixture
def recorder(monkeypatch):
    """The recorder of a machine without a device, and the streams that became the current one."""
    streams = []

    @contextmanager
    def graph(graph, stream, capture_error_mode):
        streams.append(stream)
        try:
            yield
        except ValueError:  # as torch: what ends a recording fails in turn
            raise RuntimeError("operation failed due to a previous error during capture")  # noqa: B904

    for name, own in (
        ("CUDAGraph", NoGraph), ("Stream", NoStream), ("graph", graph), ("synchronize", lambda: 0),
        ("current_stream", lambda: "usual"), ("set_stream", streams.append),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, own)
    return CudaRecorder(), streams


def test_after_a_refused_recording_the_process_records_nothing_more(recorder):
    record, streams = recorder
    calls = []

    def call():
        calls.append(1)
        raise ValueError("waits for the device")

    for _ in range(2):
        with pytest.raises(RefusedError, match="ValueError: waits for the device"):
            record(call)
    assert len(calls) == 1
    assert streams[-1] == "usual"


@pytest.mark.parametrize("refuses", [False, True])
def test_a_graph_that_does_not_fit_is_given_back_and_smaller_ones_are_recorded(
    recorder, refuses, monkeypatch
):
    record, streams = recorder
    monkeypatch.setattr(NoGraph, "refuses", refuses)

    def full():
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(RefusedError if refuses else torch.OutOfMemoryError):
        record(full)
    assert streams[-1] == "usual"
    if refuses:  # an allocator in the state of a recording
        with pytest.raises(RefusedError, match="out of memory"):
            record(lambda: ())
    else:
        record(lambda: ())
        assert streams[-1] is streams[0], "its stream is free again"


def test_no_two_graphs_have_one_stream(recorder):
    record, streams = recorder
    recordings = [record(lambda: ()) for _ in range(3)]
    assert len({each.cuda_stream for each in streams}) == 3
    with pytest.raises(RefusedError, match="there are 3 graphs"):
        record(lambda: ())
    recordings[1].release()
    record(lambda: ())
    assert streams[-1] is streams[1]
