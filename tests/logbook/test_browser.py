"""The page in a browser, where there is one."""

import re
import shutil
import subprocess

import pytest

from tests.store.makers import train_and_write

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no chromium here")

ASKED = {
    "name": "seen",
    "question": "Is it drawn?",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"d_model": 4, "n_heads": 1},
    "train": {"steps": 30, "batch_size": 8, "evaluate": {"every": 10, "samples": 16}},
    "grid": {"train.lr": [1e-3, 1e-2], "train.weight_decay": [0.0, 0.1]},
}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return train_and_write(ASKED, tmp_path_factory.mktemp("seen") / "lab", "seeds=2").entry


def opened(page, address, tmp_path):
    """The page's elements after its scripts have run, and what the browser said."""
    done = subprocess.run(
        [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={tmp_path}", "--virtual-time-budget=2000", "--dump-dom",
         f"{page.as_uri()}{address}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, said


def pressed(text):
    chips = re.findall(r"<button[^>]*data-chip=[^>]*>", text)
    names = [re.search(r'data-chip="([^"]*)"', chip).group(1) for chip in chips]
    return {name: 'aria-pressed="true"' in chip for name, chip in zip(names, chips, strict=True)}


def test_curves_are_drawn_and_every_axis_has_its_switches(page, tmp_path):
    text, said = opened(page, "", tmp_path)
    assert said == []
    assert '<div class="u-over"' in text and 'class="glass"' in text
    assert "Variants: 4 of 4 shown" in text
    assert "lr 0.001, weight_decay 0" in text  # what differs, without the names of the parts
    assert pressed(text) == {
        "train.lr=0.001": True, "train.lr=0.01": True,
        "train.weight_decay=0.0": True, "train.weight_decay=0.1": True,
    }  # fmt: skip


def test_the_address_says_what_is_switched(page, tmp_path):
    address = "#show=eval_accuracy&logx=1&hide=train.lr%3D0.01&x=5,25"
    text, said = opened(page, address, tmp_path)
    assert said == []
    assert "Variants: 2 of 4 shown" in text
    assert not pressed(text)["train.lr=0.01"]
    assert re.search(r'<button type="button" id="reset">', text)  # there is a zoom to reset


def test_both_losses_are_on_one_chart(page, tmp_path):
    text, said = opened(page, "#show=both-losses", tmp_path)
    assert said == []
    assert '<option value="both-losses">training and held-out loss</option>' in text
    names = set()
    for curves in range(4):  # from the curve in the middle to all others
        for way in ("ArrowUp", "ArrowDown"):
            keys = ["ArrowRight", *[way] * curves]
            text, said = asked(
                page, tmp_path, "#show=both-losses&hide=train.lr%3D0.01", KEYS % keys
            )
            assert said == []
            names.add(re.search(r"^ *(lr.*?) +[0-9.]+ +at step", tooltip(text))[1].strip())
    assert names == {
        "lr 0.001, weight_decay 0", "lr 0.001, weight_decay 0, held-out",
        "lr 0.001, weight_decay 0.1", "lr 0.001, weight_decay 0.1, held-out",
    }  # fmt: skip


def test_curves_of_very_different_length_have_logarithmic_steps(tmp_path):
    few, many = ({"train.steps": steps, "train.lr": 1 / steps} for steps in (3, 30))
    asked_for = ASKED | {"grid": {"steps": {"few": few, "many": many}}}
    made = train_and_write(asked_for, tmp_path / "lab").entry
    script = "document.title = document.getElementById('log-x').checked;"
    assert "<title>true</title>" in asked(made, tmp_path, "", script)[0]
    assert "<title>false</title>" in asked(made, tmp_path, "#logx=0", script)[0]


def test_curves_of_similar_length_have_linear_steps(page, tmp_path):
    script = "document.title = document.getElementById('log-x').checked;"
    assert "<title>false</title>" in asked(page, tmp_path, "", script)[0]


def asked(page, tmp_path, address, script):
    """The page's elements after a further script has run in it."""
    text = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    other = page.with_name("asked.html")
    other.write_text(text.replace("</body>", f"<script>{script}</script></body>"))
    return opened(other, address, tmp_path)


def tooltip(text):
    found = re.search(r'<div class="tip[^"]*"[^>]*>(.*?)</div></div>', text, re.DOTALL).group(1)
    return re.sub(r"<[^>]*>", " ", found)


KEYS = """for (const key of %s)
  document.getElementById("plot").dispatchEvent(new KeyboardEvent("keydown", { key }));"""


def test_the_selected_seed_is_named(page, tmp_path):
    text, said = asked(page, tmp_path, "", KEYS % ["ArrowRight"])
    assert said == []
    assert "median of 2 seeds" in tooltip(text) and "seed 1" not in tooltip(text)
    text, said = asked(page, tmp_path, "", KEYS % ["ArrowRight", "s", "s"])
    assert said == []
    assert ", seed 1" in tooltip(text) and "median" not in tooltip(text)


def test_a_curve_can_be_shown_against_tokens(page, tmp_path):
    # The last step is 30; a step has 8 samples of 4 tokens: two digits, + and =.
    text, said = asked(page, tmp_path, "#along=tokens", KEYS % (["ArrowRight"] * 31))
    assert said == []
    assert "at step 30" in tooltip(text) and "960 tokens" in tooltip(text)
    for along, unit in (("seconds", "seconds"), ("flops", "FLOPs")):
        text, said = asked(page, tmp_path, f"#along={along}", KEYS % ["ArrowRight"])
        assert said == []
        assert unit in tooltip(text)
    assert "FLOPs are estimated: 6 N + 12 L T D per token" in text


def test_a_page_may_run_no_other_script(page, tmp_path):
    evil = page.with_name("evil.html")
    more = '<script>document.title = "taken over"</script><img src="http://127.0.0.1:9/x.png">'
    evil.write_text(page.read_text().replace("</header>", f"{more}</header>", 1))
    text, said = opened(evil, "", tmp_path)
    assert "<title>taken over" not in text
    assert len(said) == 2 and all("Content Security Policy" in line for line in said)
