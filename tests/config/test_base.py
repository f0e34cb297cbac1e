from typing import Annotated

import pytest
from pydantic import ValidationError

from ablab.config import Config, Neutral, NotInIdentity


class Inner(Config):
    width: int = 3


class Outer(Config):
    rate: float = 0.5
    inner: Inner = Inner()
    note: Annotated[str, NotInIdentity()] = "x"
    later: Annotated[int, Neutral(0)] = 0
    pair: tuple[int, int] = (1, 2)


def test_identity_leaves_out_what_does_not_shape_the_run():
    assert Outer(note="other").identity() == {"rate": 0.5, "inner": {"width": 3}, "pair": [1, 2]}


def test_a_later_setting_enters_the_identity_only_off_its_neutral_value():
    assert "later" not in Outer(later=0).identity()
    assert Outer(later=2).identity()["later"] == 2


def test_unknown_keys_and_numbers_that_are_not_finite_are_errors():
    with pytest.raises(ValidationError, match="ratee"):
        Outer(ratee=1)
    with pytest.raises(ValidationError, match="finite"):
        Outer(rate=float("nan"))
