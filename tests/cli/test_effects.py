import json

import pytest

from tests.cli.command import run_command
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
