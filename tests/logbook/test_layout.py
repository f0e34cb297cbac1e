"""The page on a phone and on paper, in a browser, where there is one."""

import numpy as np
import pytest

from ablab.logbook.entry import write_entry
from tests.logbook.browser import CHROMIUM, Browser
from tests.read.filled import fill, grid

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")

LONG = "a_bundle_of_settings_whose_name_has_no_space_at_all_and_does_not_end"


def curve(keys, seed, steps):
    logged = np.where(steps % 10 == 0, 1.0 + seed, np.nan)
    falls = np.exp(-0.02 * steps) * (1 + 0.1 * seed)
    names = ("eval_loss", "eval_accuracy", "param/model/update_ratio")
    return {"train_loss": falls} | dict.fromkeys(names, logged)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    asked = grid(steps=60, seeds=3, expect=["final(loss) falls with model.n_heads"])
    asked["grid"] = {
        "bundle": {LONG: {"model.d_model": 8}, "short": {"model.d_model": 16}},
        "model.n_heads": [1, 4],
    }
    asked["question"] = f"Does {LONG} do anything?"
    store, record = fill(tmp_path_factory.mktemp("layout") / "lab", asked, curve)
    store.note(record.id, f"| a | {LONG} |\n| - | - |\n| 1 | 2 |\n\n    {LONG * 3}")
    return write_entry(store, record).page


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def top(name):
    return f"document.querySelector({name!r}).getBoundingClientRect().top"


def height(name):
    return f"document.querySelector({name!r}).getBoundingClientRect().height"


def test_a_phone_shows_the_chart_first_and_nothing_is_wider_than_its_screen(browser, page):
    browser.open(page, 400)
    assert browser.value("document.documentElement.scrollWidth") == 400
    assert browser.value(top("#plot")) < browser.value(top("#controls"))
    assert browser.value("document.getElementById('controls').open") is False
    style = "getComputedStyle(document.querySelector('.results tbody th')).position"
    assert browser.value(style) == "sticky"
    assert browser.value("document.querySelector('#result .wide').scrollWidth") > 400


def test_a_wide_screen_shows_the_controls_above(browser, page):
    browser.open(page, 1400)
    assert browser.value("document.documentElement.scrollWidth") == 1400
    assert browser.value("document.getElementById('controls').open") is True
    assert browser.value(top("#column")) < browser.value(top("#plot"))
    shown = "[...document.querySelectorAll('.watched-set')].map((each) => each.open)"
    assert browser.value(shown) == [True, False, False, False]
    browser.value(
        "(() => { const box = document.getElementById('watched-variant'); box.value = '2';"
        " box.dispatchEvent(new Event('change')); })()"
    )
    assert browser.value(shown) == [False, False, True, False]


def test_paper_is_light_static_and_unfolded(browser, page):
    browser.open(page, 794, media="print", scheme="dark")
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.value("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert browser.value(height("#plot")) == 0
    assert browser.value(height("#controls")) == 0
    assert browser.value(height(".static figure svg")) > 100
    for place in range(4):
        assert browser.value(height(f'.watched-set[data-variant="{place}"] svg')) > 50
    assert browser.value("document.querySelector('.readings li li').checkVisibility()") is True
    breaks = "getComputedStyle(document.querySelector('{}')).breakInside"
    assert browser.value(breaks.format("figure")) == "avoid"
    assert browser.value(breaks.format(".results tr")) == "avoid"
    assert browser.value("document.documentElement.scrollWidth") <= 794


@pytest.fixture(scope="module")
def page_of_many(tmp_path_factory):
    asked = grid(steps=20, seeds=2)
    asked["grid"] = {"train.lr": [0.001 * (1 + place) for place in range(31)]}
    asked["question"] = "Which rate?"
    return write_entry(*fill(tmp_path_factory.mktemp("many") / "lab", asked, curve)).page


def test_long_lists_of_many_variants_are_folded_on_paper_too(browser, page_of_many):
    """Unless the reader opened them."""
    browser.open(page_of_many, 794, media="print")
    assert browser.value(height(".results")) > 500
    for name in (".readings li li", "details.unprinted table"):
        assert browser.value(f"document.querySelector('{name}').checkVisibility()") is False
    browser.value("for (const each of document.querySelectorAll('.unprinted')) each.open = true")
    for name in (".readings li li", "details.unprinted table"):
        assert browser.value(f"document.querySelector('{name}').checkVisibility()") is True
