"""Claims of one logbook are a family: what chance alone gives, and what remains."""

import pytest

from ablab.read.family import family, remarks, tally
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
        "Corrected for all 4 tests (Holm's method), 1 stays decided: “wide is better”."
    )


def test_which_do_not_stay_decided_is_said_if_they_are_fewer():
    made = [verdict("held", 1e-6, "a"), verdict("failed", 1e-5, "b"), verdict("held", 0.04, "c"),
            verdict("undecided", 0.6, "d")]  # fmt: skip
    assert family(made).sentence().endswith("2 stay decided, all but “c”.")
    assert family(made[:2]).sentence().endswith("2 stay decided, as all that were.")
    assert family(made[3:]).sentence() == (
        "One verdict was tested, and is not decided at the 5% level."
    )


def test_nothing_tested_says_nothing():
    assert family([None, verdict("held", None)]).sentence() == ""
    assert family([]).sentence() == ""


def test_what_was_not_tested_is_counted_as_that():
    made = [verdict("undecided", 0.3), verdict("undecided", None), verdict("held", 0.01),
            verdict("held", None)]  # fmt: skip
    assert [each.state for each in made] == ["undecided", "not tested", "held", "held"]
    assert tally([each.state for each in made]) == "2 held, 1 undecided, 1 not tested"
    assert tally(["not run", "failed", "held", "not run"]) == "1 held, 1 failed, 2 not run"
    assert tally([]) == ""


def test_a_verdict_has_its_p_value_after_the_correction():
    ranked = Verdict("", "", "held", "ranks: p = 0.01", p=0.01)
    made = [verdict("held", 0.004), verdict("held", 0.03), verdict("undecided", 0.4),
            verdict("undecided", None), ranked]  # fmt: skip
    # Holm: 0.004 * 4, 0.01 * 3, 0.03 * 2, 0.4 * 1.
    assert remarks(made) == [
        "p = 0.004; p = 0.016 corrected for all 4 tests",
        "p = 0.03; p = 0.06 corrected for all 4 tests, so undecided among them",
        "p = 0.4",
        "",
        "p = 0.03 corrected for all 4 tests",
    ]
    assert remarks([verdict("held", 0.03)]) == ["p = 0.03"]


def test_a_verdict_survives_as_plain_data():
    made = verdict("undecided", None, "a claim")
    assert made.as_data()["state"] == "not tested"
    assert Verdict.from_data(made.as_data()) == made
