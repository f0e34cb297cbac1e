"""Labels of figures: short enough for their place, in a font that has their characters."""

import logging
import unicodedata
from functools import cache

from matplotlib import font_manager

# Fonts with Chinese, Japanese and Korean characters, as systems name them. They only measure text:
# in a page, the browser chooses the font.
_FURTHER = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Arial Unicode MS",
)
# Some of them have no bold face, which matplotlib reports for each text.
logging.getLogger("matplotlib.font_manager").addFilter(
    lambda record: "Failed to find font weight" not in record.getMessage()
)
_EVERY = "Last Resort High-Efficiency"  # comes with matplotlib and has a box for every character


@cache
def font_families() -> list[str]:
    """The font of figures, and those of this machine that have the characters it lacks."""
    known = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in (*_FURTHER, _EVERY) if name in known)]


def text_width(text: str) -> int:
    """The width of a text in letters; an ideograph takes two, a combining character none."""
    return sum(
        0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF")
        for each in text
    )


def fitted(text: object, most: int) -> str:
    """A text in one line, whose middle is left out if it is wider than ``most`` letters."""
    whole = " ".join(str(text).split())
    if text_width(whole) <= most:
        return whole
    first, last = "", ""
    left, right = 0, len(whole)
    while left < right:
        take_first = text_width(first) <= text_width(last)
        added = whole[left] if take_first else whole[right - 1]
        if text_width(first) + text_width(last) + text_width(added) > most - 1:
            break
        if take_first:
            first, left = first + added, left + 1
        else:
            last, right = added + last, right - 1
    return f"{first.rstrip()}…{last.lstrip()}"
