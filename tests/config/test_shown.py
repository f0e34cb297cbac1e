"""Objects as short text."""

from dataclasses import dataclass

from rich.cells import cell_len

from ablab.config import InputError
from ablab.config.shown import Displayed, Shown


def test_a_title_sentences_and_a_table():
    shown = Shown("widths: which?", ["Undecided."], ["width", "loss"], [[8, 0.5], [16, None]])
    assert shown.text() == "widths: which?\nUndecided.\nwidth  loss\n8       0.5\n16"


def test_rows_that_do_not_fit_are_counted():
    shown = Shown("many", (), ["n"], [[n] for n in range(100)], "frame")
    lines = shown.text().splitlines()
    assert lines == ["many", "n", *map(str, range(7)), "and 93 more: frame"]
    shown = Shown("many", (), ["n"], [[0]], count=12)
    assert shown.text().splitlines() == ["many", "n", "0", "and 11 more"]


def test_long_words_and_many_sentences_fit():
    rows = [["word " * 50, "x" * 300, "日本" * 60]] * 3
    shown = Shown("title " * 60, ["sentence " * 30] * 9, ["a", "b", "c"], rows)
    lines = shown.text().splitlines()
    assert len(lines) <= 10
    assert max(map(cell_len, lines)) <= 80
    lines = Shown("title", ["sentence " * 30] * 9).text().splitlines()
    assert len(lines) == 10
    assert lines[-1].endswith("…")


def test_sentences_that_are_left_out_of_html_are_counted():
    html = Shown("title", [f"sentence {n}" for n in range(9)]).html()
    assert "<p>sentence 5</p>" in html
    assert "sentence 6" not in html
    assert '<p class="soft">and 3 more</p>' in html


@dataclass(frozen=True, repr=False)
class Broken(Displayed):
    name: str

    def shown(self):
        raise InputError("the index is <damaged>")


def test_a_display_does_not_raise():
    assert repr(Broken("x")) == "Broken\nthe index is <damaged>"
    assert "<p>the index is &lt;damaged&gt;</p>" in Broken("x")._repr_html_()


class Drawn(Broken):
    def shown(self):
        return Shown("title")

    def drawn(self):
        return Broken.shown(self)


def test_what_a_notebook_adds_does_not_raise_either():
    assert repr(Drawn("x")) == "title"
    assert "<p>the index is &lt;damaged&gt;</p>" in Drawn("x")._repr_html_()


def test_controls_of_a_terminal_are_shown_as_escapes():
    text = "\x1b[2Jgone\u202e"
    rows = [[text]] * 12
    shown = Shown(text, [text], [text], rows, more=text).text()
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert shown.count("\\x1b[2Jgone\\u202e") == 3 + 6 + 1


def test_white_space_is_folded():
    shown = Shown("a\nb", ["c\n" * 30, "d\te"])
    assert shown.text().splitlines() == ["a b", " ".join("c" * 30), "d e"]


def test_no_table_has_only_empty_columns():
    assert Shown("t", (), ["n"], [[None]]).text() == "t"
    assert Shown("t", ["s"], [], [[]]).text() == "t\ns"
