import pytest

from ablab.config import InputError, match_names

NAMES = ["blocks.0.attn.q", "blocks.1.attn.q", "logits"]


def test_names_come_in_their_own_order_and_once():
    assert match_names(["logits", "blocks.*", "*.q"], NAMES, "no {}") == NAMES
    assert match_names(["blocks.1.*"], NAMES, "no {}") == ["blocks.1.attn.q"]
    assert match_names([], NAMES, "no {}") == []


def test_a_pattern_that_matches_nothing_suggests_the_nearest():
    with pytest.raises(InputError, match="no site 'logit'") as caught:
        match_names(["logits", "logit"], NAMES, "no site {}")
    assert caught.value.problems[0].suggestion == "logits"
