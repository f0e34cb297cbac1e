"""The readings of several seeds as one sentence."""

from dataclasses import replace

from ablab.read.curves.reading import Floor, Plateau, Reading, Transition
from ablab.read.curves.sentences import common_plateaus, group_sentence, plateau_ends

ACCURACY = Reading(
    "eval_accuracy", 1, 600, 0.0, 0.96, 0.0, 1, 0.01, positive=False, direction="higher"
)


def jump(step):
    """An accuracy that goes from 0.1 to 0.96 at a step."""
    return replace(ACCURACY, transitions=(Transition(step, 20, 0.1, 0.96, 1.0),))


def test_runs_that_rise_gradually_are_not_at_the_lower_level():
    assert "transition at 210 (1 of 3 seeds)" in group_sentence([jump(210), ACCURACY, ACCURACY])


def test_runs_that_stay_at_the_lower_level_have_not_reached_it():
    low = replace(ACCURACY, end=0.11, last=580)
    assert "transition at 300 [210, not reached] (2 of 3 seeds)" in (
        group_sentence([jump(210), jump(300), low])
    )
    # Of one and two, the median is not reached, so there is no number for all three.
    assert "transition at 210 (1 of 3 seeds, not by 580 in 2)" in (
        group_sentence([jump(210), low, low])
    )


def leaving_zero(last, level=0.0):
    return replace(ACCURACY, plateaus=(Plateau(level, 1, last, None, 1.0),))


def test_a_level_of_zero_is_the_same_in_several_seeds():
    readings = [leaving_zero(200), leaving_zero(300, 0.001), leaving_zero(400, 0.2)]
    zero, other = common_plateaus(readings, least=1)
    assert [place for place, _ in zero] == [0, 1]  # within 3% of the range of 0.96
    assert [place for place, _ in other] == [2]
    stays = replace(ACCURACY, end=0.0, last=500, floor=Floor(0.0, 10, None, 1.0))
    ends = plateau_ends([*readings, stays], zero)
    assert (ends.left, ends.never, ends.last) == ([200, 300], 1, 500)
    assert "0 until 300 [200, not left] (3 of 4 seeds)" in group_sentence([*readings, stays])
