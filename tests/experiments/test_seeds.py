import pytest

import ablab
from ablab.config import InputError
from ablab.experiments.seeds import most_seeds, seeds_text, seeds_words, settling_seeds

BASE = {
    "name": "made-up",
    "task": {"kind": "addition"},
    "train": {"steps": 5},
    "grid": {"model.d_model": [8, 16]},
}


def test_seeds_are_added_to_the_variants_that_need_them():
    made = ablab.experiment(BASE, seeds={"from": 3, "to": 40})
    assert made.seeds == (0, 1, 2)
    assert (made.settling.first, made.settling.last, made.settling.give_up) == (3, 40, 0.1)
    assert "3 to 40 seeds: 6 to 80 runs" in str(made)
    more = made.with_seeds({1: 5})
    assert [len(variant.runs) for variant in more.variants] == [3, 5]
    assert more.variants[1].runs[:3] == made.variants[1].runs
    assert more.digest == made.digest
    fixed = ablab.experiment(BASE, seeds=5)
    assert more.variants[1].runs == fixed.variants[1].runs  # the same runs, however asked for
    assert fixed.digest != made.digest
    assert ablab.experiment(made.definition) == made
    assert most_seeds(made.definition) == 40
    assert most_seeds(fixed.definition) == 5
    assert seeds_text(made.definition) == "from 3 to 40, until the questions are settled"
    assert seeds_text(fixed.definition) == "0, 1, 2, 3, 4"
    assert seeds_words(made.definition) == "3 to 40 seeds"
    assert seeds_words(fixed.definition) == "5 seeds"


def test_the_command_line_has_them_too():
    made = ablab.experiment(BASE, "seeds={from:4,to:9,give_up:0}")
    assert (made.settling.first, made.settling.last, made.settling.give_up) == (4, 9, 0)
    sized = BASE | {"sizes": {"full": {"set": {"seeds": {"from": 3, "to": 8}}}}}
    assert ablab.experiment(sized, size="full").settling.last == 8


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ({"from": 3}, "seeds.to has a wrong value"),
        ({"to": 2}, "seeds.to has a wrong value"),
        ({"from": 1, "to": 5}, "seeds.from has a wrong value"),
        ({"from": 3.5, "to": 5}, "seeds.from has a wrong value"),
        ({"from": True, "to": 5}, "seeds.from has a wrong value"),
        ({"from": 3, "to": "40"}, "seeds.to has a wrong value"),
        ({"from": 3, "too": 40}, "seeds.too is not a setting"),
        ({"from": 3, "to": 40, "give_up": 1}, "seeds.give_up has a wrong value"),
        ({"from": 3, "to": 40, "give_up": "never"}, "seeds.give_up has a wrong value"),
        ({"from": 3, "to": 100_001}, "seeds.to has a wrong value"),
        ({"from": 3, "to": 60_000}, "120,000 runs"),
    ],
)
def test_wrong_seeds(seeds, message):
    with pytest.raises(InputError, match=message):
        ablab.experiment(BASE, seeds=seeds)


def test_settling_keeps_what_an_experiment_says():
    assert settling_seeds({"seeds": [0, 1, 2, 3, 4]}) == {"from": 5, "to": 40}
    assert settling_seeds({"seeds": [0]}, last=9) == {"from": 3, "to": 9}
    assert settling_seeds({"seeds": {"from": 4, "to": 9, "give_up": 0.2}}, first=6) == {
        "from": 6, "to": 9, "give_up": 0.2,
    }  # fmt: skip
    with pytest.raises(InputError, match="seeds are added in order, and these are a list"):
        settling_seeds({"seeds": [0, 7]})
