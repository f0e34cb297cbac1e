"""A page that stays open while its runs are trained, in a browser, where there is one."""

import time

import numpy as np
import pytest

from tests.logbook.browser import CHROMIUM, Browser
from tests.read.filled import fill, grid
from tests.serve.test_connections import serving

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")

HEADINGS = "[...document.querySelectorAll('main > section h2')].map((each) => each.textContent)"
ANSWER = "document.querySelector('.answer').textContent"


@pytest.fixture
def stored(tmp_path):
    """Runs of which each kind leaves log 10 and log 2, told in two sections of effects."""

    def curve(keys, seed, steps):
        rng = np.random.default_rng([seed, keys["model.n_heads"]])
        first, then = 60 * keys["model.n_heads"], 200 + 40 * keys["model.n_heads"]
        level = np.where(steps < first, 2.302585, np.where(steps < then, 0.6931472, 0.01))
        return level * (1 + 0.003 * rng.standard_normal(len(steps)))

    asked = grid(steps=600, seeds=3, grid={"model.n_heads": [1, 2]})
    return fill(tmp_path / "lab", asked, curve)


def train_to(store, step):
    with store.index.transaction() as connection:
        connection.execute("UPDATE runs SET step = ?", (step,))


def wait(browser, expression, seconds=120):
    """Waits until an expression is true on the page."""
    end = time.monotonic() + seconds
    while not browser.value(expression):
        assert time.monotonic() < end, browser.value("document.body.innerText")[:3000]
        time.sleep(0.3)


def test_what_is_concluded_follows_the_runs(stored, tmp_path):
    store, record = stored
    train_to(store, 300)
    with serving(store.path) as port, Browser(tmp_path / "browser") as browser:
        address = f"http://127.0.0.1:{port}/experiments/{record.id}"
        browser.ask("Page.navigate", url=address)
        wait(
            browser,
            "document.readyState === 'complete' && Boolean(document.querySelector('.answer'))",
        )
        assert "Nothing is concluded yet" in browser.value(ANSWER)
        browser.value("window.isSame = true")

        train_to(store, 600)
        wait(browser, f"!{ANSWER}.includes('Nothing is concluded yet')")
        wait(browser, f"{HEADINGS}.some((each) => each.startsWith('Effects'))")
        headings = browser.value(HEADINGS)
        assert len(headings) == len(set(headings))
        effects = [each for each in headings if each.startswith("Effects on the step")]
        assert len(effects) == 2  # at which log 10 and log 2 are left

        store.note(record.id, "This is mine.")
        wait(browser, "document.body.innerText.includes('This is mine.')")
        assert browser.value(HEADINGS).count("Notes") == 1
        assert [each for each in browser.value(HEADINGS) if each in effects] == effects

        train_to(store, 300)  # as where seeds are added
        wait(browser, f"{ANSWER}.includes('Nothing is concluded yet')")
        assert not any(each.startswith("Effects") for each in browser.value(HEADINGS))
        assert browser.value("document.querySelectorAll('#runs-list').length") == 1
        assert browser.value("window.isSame") is True
        assert browser.value("document.querySelectorAll('.u-over').length") == 1


def test_a_page_without_access_says_so(stored, tmp_path):
    """As after a server that was started again, with another token."""
    store, record = stored
    with Browser(tmp_path / "browser") as browser, serving(store.path) as port:
        browser.ask("Page.navigate", url=f"http://127.0.0.1:{port}/experiments/{record.id}")
        wait(
            browser,
            "document.readyState === 'complete' && Boolean(document.querySelector('#live'))",
        )
        refuse = "window.fetch = async () => new Response('token required', { status: 403 })"
        browser.value(refuse + "; true")
        wait(browser, "document.querySelector('#live').classList.contains('lost')")
