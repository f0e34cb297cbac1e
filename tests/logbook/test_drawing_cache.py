from dataclasses import dataclass

import polars as pl

from ablab.logbook.drawing_cache import DrawingCache


@dataclass(frozen=True)
class Shown:
    name: str
    values: list[float]


def counting(cache):
    drawn = []

    @cache
    def draw(shown, frame=None):
        drawn.append(shown)
        return f"<svg>{shown} {len(drawn)}</svg>"

    return draw, drawn


def test_equal_data_are_drawn_once():
    draw, drawn = counting(DrawingCache())
    first = draw(Shown("a", [1.0, 2.0]), frame=pl.DataFrame({"x": [1, 2]}))
    assert draw(Shown("a", [1.0, 2.0]), frame=pl.DataFrame({"x": [1, 2]})) == first
    assert len(drawn) == 1


def test_different_data_are_drawn_anew():
    draw, drawn = counting(DrawingCache())
    draw(Shown("a", [1.0, 2.0]))
    draw(Shown("b", [1.0, 2.0]))
    draw(Shown("a", [1.0, 2.5]))
    draw(Shown("a", [1.0, 2.0]), frame=pl.DataFrame({"x": [1]}))
    draw(Shown("a", [1.0, 2.0]), frame=pl.DataFrame({"x": [2]}))
    assert len(drawn) == 5


def test_functions_are_told_apart():
    cache = DrawingCache()
    one = cache(lambda shown: f"one {shown}")

    def other(shown):
        return f"other {shown}"

    assert one("a") == "one a"
    assert cache(other)("a") == "other a"


def test_what_was_used_longest_ago_is_dropped():
    drawn = []

    @DrawingCache(most_bytes=2500)
    def draw(shown):
        drawn.append(shown)
        return shown * 1000

    for shown in "abaca":  # c takes the place of b
        assert draw(shown) == shown * 1000
    assert drawn == ["a", "b", "c"]
    draw("b")
    assert drawn == ["a", "b", "c", "b"]
