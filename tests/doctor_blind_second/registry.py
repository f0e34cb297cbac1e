"""The second set of planted bugs and of healthy code."""

from tests.doctor_blind_second.cases import BUGS, HEALTHY

__all__ = ["BUGS", "HEALTHY"]
