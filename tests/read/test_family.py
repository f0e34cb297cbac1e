"""Claims of one logbook are a family: what chance alone gives, and what remains."""

import pytest

from ablab.read.family import family
from ablab.read.verdicts import Verdict


def verdict(outcome, p, claim=""):
    return Verdict(claim, "", outcome, "", p=p)


def test_verdicts_are_corrected_for_their_number():
    made = [
        verdict("held", 0.001, "wide is better"), verdict("failed", 0.03),
        verdict("undecided", 0.4), None, verdict("held", 0.02), verdict("held", None),
    ]  # fmt: skip
    found = family(made)
    assert found.adjusted == pytest.approx((0.004, 0.06, 0.4, None, 0.06, None), nan_ok=True)
    assert found.corrected == ("held", "undecided", "undecided", None, "undecided", None)
    assert (found.tested, found.decided, found.remaining) == (4, 3, 1)
    assert found.by_chance == pytest.approx(0.2)
    assert found.sentence("claim") == (
        "3 of 4 tested claims are decided at the 5% level; chance alone would decide about 0.2. "
        "Corrected for all 4 (Holm), 1 stays decided: “wide is better”."
    )


def test_which_do_not_stay_decided_is_said_if_they_are_fewer():
    made = [verdict("held", 1e-6, "a"), verdict("failed", 1e-5, "b"), verdict("held", 0.04, "c"),
            verdict("undecided", 0.6, "d")]  # fmt: skip
    assert family(made).sentence().endswith("2 stay decided, all but “c”.")
    assert family(made[:2]).sentence().endswith("2 stay decided, as all that were.")
    assert family(made[3:]).sentence().endswith("0 stay decided.")


def test_nothing_tested_says_nothing():
    assert family([None, verdict("held", None)]).sentence() == ""
    assert family([]).sentence() == ""
