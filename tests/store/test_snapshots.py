import pytest
import torch

import ablab
from ablab.store import StoreError
from ablab.store.snapshot_files import snapshot_path
from ablab.store.snapshots import read_parameters, read_state
from ablab.train.method import SOLO
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.stack import Stack, initial_model
from tests.store.makers import WILD, train


def test_steps_that_are_kept(tmp_path, tiny):
    result = train(tiny, tmp_path / "lab", "seeds=1", "model.d_model=8")
    run = ablab.open(tmp_path / "lab").run(result.runs[0].run)
    assert run.snapshots == [0, 1, 2, 4, 8, 10, 16, 20]


def test_a_stored_model_is_the_trained_one(tmp_path, tiny):
    result = train(tiny, tmp_path / "lab", "seeds=[3]", "model.d_model=8")
    run = ablab.open(tmp_path / "lab").run(result.runs[0].run)
    stack = Stack([run.run], [None], torch.device("cpu"), SOLO)
    first = dict(run.model(0).named_parameters())
    assert torch.equal(
        first["embedding.weight"], stack.layout.views(stack.theta)["embedding.weight"][0]
    )
    stack.advance(10)
    after = stack.layout.views(stack.theta)
    for name, parameter in run.model(10).named_parameters():
        torch.testing.assert_close(parameter.detach(), after[name][0])
    with pytest.raises(StoreError, match="no snapshot of step 7"):
        run.model(7)


def test_state_survives_the_file_bit_for_bit(tmp_path, tiny):
    result = train(tiny, tmp_path / "lab", "seeds=1", "model.d_model=8")
    run = ablab.open(tmp_path / "lab").run(result.runs[0].run)
    layout = ParameterLayout.of(initial_model(run.run))
    state = read_state(run.store, run.id, 20, layout, ["exp_avg", "exp_avg_sq"])
    assert sorted(state.optimizer_state) == ["exp_avg", "exp_avg_sq"]
    assert torch.equal(state.theta, layout.flatten(run.model(20)))


def test_a_damaged_snapshot_is_a_clear_error(tmp_path, tiny):
    result = train(tiny, tmp_path / "lab", "seeds=1", "model.d_model=8")
    run = ablab.open(tmp_path / "lab").run(result.runs[0].run)
    path = snapshot_path(run.store, run.id, 20)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(StoreError, match="missing or damaged"):
        run.model(20)


def test_a_damaged_snapshot_is_passed_over_when_a_run_goes_on(tmp_path, tiny):
    lab = tmp_path / "lab"
    first = train(tiny, lab, "seeds=1", "model.d_model=8")
    whole = train(tiny, tmp_path / "other", "seeds=1", "model.d_model=8", "train.steps=40")
    run = first.runs[0].run
    path = snapshot_path(ablab.open(lab).store, run, 20)
    path.write_bytes(b"")
    longer = train(tiny, lab, "seeds=1", "model.d_model=8", "train.steps=40")
    assert longer.metrics().drop("experiment").equals(whole.metrics().drop("experiment"))


def test_a_run_that_goes_back_is_resumed_bit_for_bit(tmp_path):
    """The first part ends within an interval, after a restart and before another."""
    one, two = tmp_path / "one", tmp_path / "two"
    train(WILD, one, "train.steps=80")
    first = train(WILD, two, "train.steps=40")
    run = ablab.open(two).run(first.runs[0].run)
    state = read_state(run.store, run.id, 40, ParameterLayout.of(initial_model(run.run)), [])
    assert state.recovery is not None
    assert state.recovery.restarts > 0
    assert state.recovery.interval > 0
    assert set(read_parameters(run.store, run.id, 40)) == {"embedding.weight"}
    again = train(WILD, two, "train.steps=80")
    assert [each.run for each in again.runs] == [each.run for each in first.runs]
    whole, resumed = (
        ablab.open(lab).metrics("wild", columns=["train_loss", "eval_loss", "restart"])
        for lab in (one, two)
    )
    assert len(whole["restart"].drop_nulls().unique()) > 1
    assert resumed.filter(resumed["step"] != 40).equals(whole.filter(whole["step"] != 40))
