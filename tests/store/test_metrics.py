import polars as pl
import pytest

from ablab.config import InputError
from ablab.store import Store
from ablab.store.compaction import compact
from ablab.store.metrics import append_rows, read_runs, run_metrics
from tests.store.makers import train


def add(store, rows):
    append_rows(store, pl.DataFrame(rows))


def test_a_row_for_each_run_and_step(tmp_path, tiny):
    frame = train(tiny, tmp_path / "lab").metrics()
    assert frame.columns[:5] == ["run", "experiment", "model.d_model", "seed", "step"]
    assert frame.columns[5] == "train_loss"
    assert frame.height == 4 * 21
    one = frame.filter(pl.col("run") == frame["run"][0])
    assert one["step"].to_list() == list(range(21))
    assert one["train_loss"].is_null().to_list() == [True] + [False] * 20
    logged = one.drop_nulls("lr")["step"].to_list()
    assert logged == [5, 10, 15, 20]
    assert one.drop_nulls("grad_norm")["step"].to_list() == logged
    assert one.drop_nulls("eval_loss")["step"].to_list() == [0, 10, 20]
    assert {"eval_accuracy", "eval_loss/digit_0", "eval_offset/digit_0/1"} <= set(frame.columns)


def test_columns_are_chosen_by_patterns(tmp_path, tiny):
    result = train(tiny, tmp_path / "lab", "seeds=1")
    chosen = result.metrics(["eval_loss*", "lr"]).columns[5:]
    assert sorted(chosen) == ["eval_loss", "eval_loss/digit_0", "lr"]
    with pytest.raises(InputError) as caught:
        result.metrics(["evl_loss"])
    assert caught.value.problems[0].suggestion == "eval_loss"


def test_the_later_row_of_a_step_counts(tmp_path):
    store = Store(tmp_path / "lab", create=True)
    add(store, {"run": ["a", "a", "b"], "step": [1, 2, 1], "train_loss": [1.0, 2.0, 9.0]})
    add(store, {"run": ["a"], "step": [2], "train_loss": [7.0], "eval_loss": [3.0]})
    frame = read_runs(store, ["a"])
    assert frame.rows() == [("a", 1, 1.0, None), ("a", 2, 7.0, 3.0)]


def test_merging_parts_changes_no_row(tmp_path):
    store = Store(tmp_path / "lab", create=True)
    for step in range(1, 50):
        add(store, {"run": ["a", "b"], "step": [step] * 2, "train_loss": [1.0 * step, 2.0 * step]})
    add(store, {"run": ["a"], "step": [3], "train_loss": [-1.0]})
    before = read_runs(store, ["a", "b"])
    assert compact(store) == 50
    assert len(list((tmp_path / "lab" / "metrics").iterdir())) == 1
    assert read_runs(store, ["a", "b"]).equals(before)
    assert compact(store) == 0
    add(store, {"run": ["a"], "step": [50], "train_loss": [0.0]})
    assert read_runs(store, ["a"]).height == 50


def test_axes_of_mixed_values_become_text(tmp_path, tiny):
    result = train(
        tiny,
        tmp_path / "lab",
        "model.mlp=null,{output_projection:true}",
        "seeds=1",
        "model.d_model=8",
    )
    frame = result.metrics()
    assert frame["model.mlp"].unique(maintain_order=True).to_list() == [
        None,
        '{"output_projection": true}',
    ]


def test_columns_that_only_other_runs_have_logged_are_left_out(tmp_path, tiny):
    result = train(tiny, tmp_path / "lab", "seeds=1", "model.d_model=8", "train.steps=5")
    own = result.runs[0].run
    add(result.store, {"run": [own, "other"], "step": [5, 5], "elsewhere": [None, 1.0]})
    assert "elsewhere" not in result.metrics().columns
    assert "elsewhere" not in run_metrics(result.store, own).columns
    assert run_metrics(result.store, "other").columns == ["run", "step", "elsewhere"]
    with pytest.raises(InputError, match="no column 'elsewhere' was logged") as caught:
        result.metrics(["elsewhere"])
    assert "eval_loss" in str(caught.value.problems[0].expected)
