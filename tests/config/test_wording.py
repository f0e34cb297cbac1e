import pytest

from ablab.config import counted, visible, visible_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("model.d_model=8, naïve — 漢字 🙂 a\u00a0b", "model.d_model=8, naïve — 漢字 🙂 a\u00a0b"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m\x7f\x00", "\\x9b31m\\x7f\\x00"),
        ("a\r\nb\tc\x0b", "a\\r\\nb\\tc\\x0b"),
        ("\u202eleft\u2028\ufeff\ud800", "\\u202eleft\\u2028\\ufeff\\ud800"),
    ],
)
def test_control_characters_are_shown_as_escapes(text, shown):
    assert visible(text) == shown
    assert visible(shown) == shown


def test_lines_keep_their_breaks_and_tabs():
    assert visible_lines("a\r\n\tb\x1b\n") == "a\\r\n\tb\\x1b\n"


def test_every_control_character_is_escaped():
    for code in [*range(32), *range(0x7F, 0xA0)]:
        assert visible(chr(code)) != chr(code)
        assert (visible_lines(chr(code)) == chr(code)) == (chr(code) in "\n\t")


def test_a_number_has_its_noun():
    assert (counted(1, "run"), counted(2000, "run")) == ("1 run", "2,000 runs")
