"""The list ``analyze:`` of an experiment."""

import pytest

import ablab
from ablab.config import InputError
from ablab.experiments import experiment
from ablab.store.findings import stored_keys
from tests.analysis.test_analyze import ASKED
from tests.cli.command import run_command

OWN = "tests.analysis.my_analyses:"


def test_analyses_follow_training(tmp_path):
    asked = ASKED | {"analyze": ["parameter_norms", OWN + "telling:factor=2"], "seeds": 1}
    made = ablab.run(asked, store=tmp_path / "lab", compile="off", quiet=True)
    names = {name for _, _, name in stored_keys(made.store, [each.run for each in made.runs])}
    assert names == {"parameter_norms", OWN + "telling:factor:2"}
    frame = made.metrics([f"analysis/{OWN}telling:factor:2/value"])
    assert set(frame.to_series(-1).drop_nulls()) == {2.0}


@pytest.mark.parametrize(
    ("analyze", "said"),
    [
        (["fourrier"], "no analysis called 'fourrier'"),
        (["parameter_norms:rows=3"], "parameter_norms.rows is not a setting"),
        (3, "analyze has a wrong value"),
        ([3], "analyze has a wrong value"),
    ],
)
def test_names_are_checked_before_training(tmp_path, analyze, said):
    with pytest.raises(InputError, match=said):
        ablab.run(ASKED | {"analyze": analyze}, store=tmp_path / "lab", quiet=True)
    assert not (tmp_path / "lab").exists()


def test_analyses_change_no_run_and_can_be_given_on_the_command_line(tmp_path, monkeypatch):
    asked, plain = experiment(ASKED | {"analyze": ["parameter_norms"]}), experiment(ASKED)
    assert [run.id for run in asked.runs] == [run.id for run in plain.runs]
    assert asked.digest == plain.digest
    assert experiment(asked.definition).definition == asked.definition
    monkeypatch.chdir(tmp_path)
    command = ["run", "addition", "train.steps=4", "model.d_model=4", "model.n_heads=1", "seeds=1"]
    code, _, err = run_command(*command, "analyze=[parameter_norm]", "--quiet")
    assert code == 2 and "did you mean parameter_norms" in err
    code, _, err = run_command(
        *command, "analyze=[parameter_norms]", "train.batch_size=8", "--compile", "off", "--quiet"
    )
    assert code == 0, err
    found = ablab.analyze("addition", "parameter_norms", store="lab")
    assert found.scalars.height
