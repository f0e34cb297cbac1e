"""Compiled methods without the compiler, where compiling would take too long."""

import pytest

from ablab.train.compiling import traces_only


@pytest.fixture
def interpreted():
    """Programs are traced, and their operations run one by one."""
    with traces_only():
        yield
