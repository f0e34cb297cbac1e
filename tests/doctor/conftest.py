"""Compiling takes seconds a shape, so only tests of the check ``methods`` try compiled methods."""

import pytest

from ablab.execute.method_choice import possible_methods


@pytest.fixture(autouse=True)
def eager_methods_only(request, monkeypatch):
    if "compiles" in request.fixturenames:
        return

    def eager(cost, device):
        return [each for each in possible_methods(cost, device) if not each.compiled]

    monkeypatch.setattr("ablab.doctor.checks.methods.possible_methods", eager)


@pytest.fixture
def compiles():
    """For a test that tries compiled methods."""
