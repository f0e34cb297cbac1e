"""Static figures whose colours follow the page's."""

import re

from matplotlib.figure import Figure

from ablab.logbook.svg import figure_style, plain_axes, svg, themed


def drawing():
    with figure_style():
        figure = Figure(figsize=(3, 2))
        axes = figure.subplots()
        plain_axes(axes)
        axes.plot([0, 1], [0, 1], color="#0072b2")
        axes.plot([0, 1], [1, 0], color="#123456")
        axes.set_xlabel("step")
        return svg(figure)


def test_text_has_the_font_of_the_page():
    fonts = set(re.findall(r"font-family: ([^;\"]*)", drawing()))
    assert fonts and all("system-ui" in font and "DejaVu" not in font for font in fonts)


def test_a_figure_in_the_page_has_no_fixed_paper_or_ink():
    text = themed(drawing())
    assert "fill: var(--paper, #ffffff)" in text and "fill: #ffffff" not in text
    assert "stroke: var(--grid, #e9ebef)" in text
    assert "fill: var(--soft, #5f6671)" in text
    assert "#000000" not in text


def test_lines_have_a_partner_on_a_dark_page():
    text = themed(drawing())
    assert "stroke: #0072b2; stroke: light-dark(#0072b2, #4c9fe6)" in text
    assert "stroke: #123456" in text and "light-dark(#123456" not in text


def test_a_file_keeps_plain_colours():
    assert "var(" not in drawing() and "fill: #ffffff" in drawing()
