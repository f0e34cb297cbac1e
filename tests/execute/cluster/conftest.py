"""Agents in threads, and what this process would train instead."""

import pytest

from tests.execute.cluster.threads import PINNED, ThreadLine, Threads, close_agents
from tests.store.makers import train
from tests.store.packing import metrics

_known = {}  # metrics by settings


@pytest.fixture(autouse=True, scope="module")
def ended():
    """No process is left for the tests of other modules."""
    yield
    close_agents()


@pytest.fixture
def agents():
    """Makes agents for the executor of tests; they are ended afterwards."""

    def make(count=2, change=lambda line, method, answer: answer, **settings):
        Threads.made = [ThreadLine(f"machine{k}/1", change) for k in range(count)]
        for name, value in settings.items():
            setattr(Threads, name, value)
        return Threads.made

    yield make
    for line in Threads.made:
        line.end()
    Threads.made, Threads.silent_seconds = (), 60.0


@pytest.fixture
def local(tiny, tmp_path):
    """The metrics of the grid as this process trains it."""

    def find(*more):
        if more not in _known:
            train(tiny, tmp_path / "local", *more, executor="in_process", workers=2, **PINNED)
            _known[more] = metrics(tmp_path / "local")
        return _known[more]

    return find
