import json

import numpy as np
import pytest

from tests.cli.command import run_command
from tests.logbook.test_effect_tables import SHORT, swept
from tests.read.filled import fill, grid
from tests.store.makers import train


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("effects") / "lab"
    asked = {
        "name": "tiny",
        "task": {"kind": "addition", "n_digits": 2},
        "model": {"kind": "transformer", "d_model": 8, "n_heads": 2},
        "train": {"steps": 10, "batch_size": 16},
        "grid": {"model.d_model": [4, 16], "how": {"plain": {}, "fast": {"train.lr": 0.1}}},
        "seeds": 3,
    }
    train(asked, path)
    return str(path)


def test_tables_say_what_is_compared_with_what(store):
    code, out, _ = run_command("effects", "tiny", "--store", store)
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "tiny: final(eval_loss) of 12 runs, 3 seeds"
    assert lines[1] == "base: model.d_model=4 (the first value), how=plain"
    assert out.count("95% interval") == 2
    assert "Averaged over the values of the other settings:" in lines
    assert "All other settings at their base values:" in lines
    assert "interact in their effect" in out
    assert "Undecided does not mean equal" in out


def test_one_setting_as_one_json_document(store):
    code, out, err = run_command(
        "effects", "tiny", "--of", "how", "--margin", "5", "--measure", "final(train_loss)",
        "--scale", "difference", "--store", store, "--json",
    )  # fmt: skip
    data = json.loads(out)
    assert (code, err) == (0, "")
    assert (data["experiment"], data["measure"], data["of"]) == (
        "tiny", "final(train_loss)", ["how"],
    )  # fmt: skip
    (found,) = data["factorial"]
    assert (found["value"], found["reference"], found["margin"]) == ("fast", "plain", 5.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--of", "d_model"], "did you mean model.d_model?"),
        (["--measure", "final(los)"], "no column los was logged"),
        (["--scale", "ratios"], "did you mean ratio?"),
        (["--margin", "0"], "the margin must be above 0"),
    ],
)
def test_wrong_input_ends_with_two(store, options, said):
    code, out, err = run_command("effects", "tiny", *options, "--store", store)
    assert (code, out) == (2, "")
    assert said in err


def test_trends_alone_have_the_notes_of_a_table(tmp_path):
    swept(tmp_path)
    code, out, _ = run_command("effects", "made-up", "--store", str(tmp_path / "lab"))
    told = " ".join(out.split())
    assert code == 0
    assert SHORT in told
    assert "Settings with many numbers have one test of a trend" in told
    assert "Intervals are for single comparisons" not in told


def test_trends_beside_comparisons_are_explained(tmp_path):
    """Eight learning rates have a trend, two numbers of heads are compared."""
    asked = grid(steps=20, seeds=3, answer="final(loss)")
    asked["grid"] = {"train.lr": [10.0**-k for k in range(8)], "model.n_heads": [1, 4]}

    def curve(keys, seed, steps):
        noise = np.random.default_rng([seed, keys["model.n_heads"]]).standard_normal()
        return 2 + 0.1 * np.log10(keys["train.lr"]) + 0.01 * noise + 0 * steps

    fill(tmp_path / "lab", asked, curve)
    arguments = ("effects", "made-up", "--store", str(tmp_path / "lab"))
    told = " ".join(run_command(*arguments)[1].split())
    assert "Settings with many numbers have one test of a trend" in told
    assert "Intervals are for single comparisons" in told
    told = " ".join(run_command(*arguments, "--of", "train.lr")[1].split())
    assert "Settings with many numbers" not in told
