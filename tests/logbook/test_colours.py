"""Colours, dashes and names of variants."""

from itertools import pairwise, product

import pytest

from ablab.logbook.colours import (
    CROWDED,
    PALETTE,
    categorical,
    partner_on_dark,
    sequential,
    styles,
)


def cells(**axes):
    return [dict(zip(axes, cell, strict=True)) for cell in product(*axes.values())]


def looks(found):
    return [(style.colour, style.dash) for style in found.styles]


def luminance(colour):
    """Relative luminance, as WCAG 2.1 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    "grid",
    [
        {"d": [8, 16, 32], "h": [1, 4]},
        {"kind": list("abcdefg"), "h": [1, 2, 4, 8]},
        {"h": [1, 2], "kind": list("abcdefghij")},
        {"kind": list("abcdefghijklmnopqrst")},
        {"lr": [10.0**-n for n in range(20)]},
        {"a": [1, 2], "b": [1, 2], "c": [1, 2], "d": [1, 2]},
        {"a": list("abcde"), "b": list("abcde")},
        {},
    ],
)
def test_no_two_variants_look_the_same(grid):
    found = styles(cells(**grid))
    assert len(set(looks(found))) == len(found.styles)
    assert found.by is None


def test_too_many_variants_are_coloured_by_one_axis_which_is_named():
    found = styles(cells(a=[1, 2, 3, 4], b=list("abc"), c=list("xyz")))
    assert len(found.styles) == 36 > CROWDED
    assert found.by is not None and found.by.key == "a"
    assert {style.dash for style in found.styles} == {0}
    assert len({style.colour for style in found.styles}) == 4


def test_numbers_are_in_order_and_on_a_sequential_scale():
    found = styles(cells(d=[32, 8, 128], kind=["b", "a"]))
    first, second = found.axes
    assert (first.values, first.is_numeric) == (["8", "32", "128"], True)
    assert (second.values, second.is_numeric) == (["b", "a"], False)  # words keep their order
    assert [found.names[place] for place in found.order] == [
        "d 8, kind b", "d 8, kind a", "d 32, kind b", "d 32, kind a", "d 128, kind b",
        "d 128, kind a",
    ]  # fmt: skip
    # Lightness increases with the number, on white and on black.
    for colours in (first.colours, [partner_on_dark(colour) for colour in first.colours]):
        assert all(luminance(one) < luminance(other) for one, other in pairwise(colours))
    assert second.colours == list(PALETTE[:2])


def test_booleans_are_words():
    (axis,) = styles(cells(bias=[True, False])).axes
    assert (axis.values, axis.is_numeric) == (["True", "False"], False)


def test_names_say_what_differs():
    found = styles(
        [{"model.d_model": d, "model.n_heads": h, "train.lr": 1} for d, h in ((8, 1), (16, 4))]
    )
    assert [axis.key for axis in found.axes] == ["model.d_model", "model.n_heads"]
    assert found.axes[0].short == "d_model"
    assert found.names == ["d_model 8, 1 head", "d_model 16, 4 heads"]


@pytest.mark.parametrize("colours", [PALETTE, sequential(9), categorical(40)])
def test_colours_can_be_read_on_white_and_on_black(colours):
    for colour in colours:
        assert contrast(colour, "#ffffff") > 2.2, colour
        assert contrast(partner_on_dark(colour), "#15181c") > 2.2, colour
    assert partner_on_dark("#123456") is None
