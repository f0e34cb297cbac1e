"""A compiled transformer, with its batch innermost, gives the run that an eager one alone gives."""

import pytest

from tests.train.agreement import INNERMOST, OPTIMIZERS, PARTS, agree


@pytest.mark.parametrize("parts", ["addition", "text"])
def test_the_innermost_layout_agrees(parts):
    agree(PARTS[parts], OPTIMIZERS["adamw"], INNERMOST)
