"""Why runs are trained anew, in one line."""

import json
import re

import pytest
from click.testing import CliRunner

import ablab
from ablab.cli.main import ablab as command
from ablab.execute.new_runs import why_new
from ablab.execute.plan import Plan, PlannedStack
from ablab.execute.worker import plan_as_data, plan_from_data
from ablab.store.store import Store, StoreError
from ablab.train.method import SOLO
from tests.users_code import ASKED, HELPED, HELPER

PLAIN = ASKED | {"model": {"kind": "transformer", "d_model": 8, "n_heads": 2}}


@pytest.fixture
def lab(tmp_path):
    """A function that registers experiments, as a run does."""

    class Lab:
        store = Store(tmp_path / "lab", create=True)

        def register(self, asked, *overrides):
            self.store.register(ablab.experiment(asked, *overrides), "ablab run", {})

        def why(self, asked, *overrides):
            return why_new(ablab.experiment(asked, *overrides), self.store)

    return Lab()


def test_nothing_is_said_of_known_runs_or_in_a_new_store(lab):
    assert lab.why(PLAIN) is None
    lab.register(PLAIN)
    assert lab.why(PLAIN) is None
    assert lab.why(PLAIN | {"name": "another"}, "model.d_model=16") is None


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("model.d_head=8",), "2 of 2 runs are new: model.d_head changed (4 → 8)"),
        (("model.d_model=8,16",), "2 of 4 runs are new: model.d_model changed (8 → 16)"),
        (("model.d_model=16,24",), "4 of 4 runs are new: model.d_model=16, 24 are new"),
        (("seeds=3",), "1 of 3 runs are new: seed=2 is new"),
        (("train.lr=0.01", "model.n_heads=1"),
         "2 of 2 runs are new: model.n_heads changed (2 → 1) and train.lr changed (0.001 → 0.01)"),
    ],
)  # fmt: skip
def test_a_changed_setting_is_named(lab, overrides, expected):
    lab.register(PLAIN)
    assert lab.why(PLAIN, *overrides) == expected


def test_an_edited_callback_is_named_by_its_file(lab, folder):
    source = "def seen(run): run.record('x', 1.0)\n"
    folder.write(mine=source)
    asked = PLAIN | {"train": {"steps": 4, "callbacks": ["mine:seen"]}}
    lab.register(asked)
    folder.write(mine=source.replace("1.0", "2.0"))
    assert re.fullmatch(
        r"2 of 2 runs are new: mine\.py changed \(was trained as \w{12} on [\d-]{10}\)",
        lab.why(asked),
    )
    assert lab.why(asked, "train.callbacks=[{call: 'mine:seen', steps: 2}]").startswith(
        "2 of 2 runs are new: mine.py changed"
    )


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ([], ["mine:seen"]),
        (["mine:seen"], ["mine:seen", "other:seen"]),
        (["mine:seen"], ["other:seen", "mine:seen"]),
        (["mine:seen", "other:seen"], ["other:seen", "mine:seen"]),
        (["mine:seen"], []),
        (["mine:seen"], ["other:seen"]),
    ],
)
def test_no_file_changed_where_callbacks_are_added_moved_or_replaced(lab, folder, before, now):
    folder.write(mine="def seen(run): ...", other="def seen(run): return None")
    lab.register(PLAIN | {"train": {"steps": 4, "callbacks": before}})
    said = lab.why(PLAIN | {"train": {"steps": 4, "callbacks": now}})
    assert said.startswith("2 of 2 runs are new: train.callbacks changed (")
    assert ".py" not in said
    assert "source" not in said


def test_no_file_changed_where_a_part_is_replaced(lab, folder):
    folder.write(mine="def rate(step): return 0.5", other="def rate(step): return 0.25")
    lab.register(PLAIN, "train.schedule=mine:rate")
    for other, changed in (
        ("other:rate", "train.schedule.kind changed (mine:rate → other:rate)"),
        ("constant", "train.schedule.kind changed (mine:rate → constant)"),
    ):
        assert lab.why(PLAIN, f"train.schedule={other}") == f"2 of 2 runs are new: {changed}"


def test_another_value_of_an_axis_is_named_as_new(lab):
    lab.register(PLAIN, "model.d_model=8,16")
    assert lab.why(PLAIN, "model.d_model=8,16,24") == (
        "2 of 6 runs are new: model.d_model=24 is new"
    )


def test_a_release_that_computes_differently_is_named(lab, monkeypatch):
    lab.register(PLAIN)
    monkeypatch.setattr("ablab.experiments.identity.NUMERICS_VERSION", 2)
    assert lab.why(PLAIN) == "2 of 2 runs are new: this release computes differently"


def test_the_file_that_changed_is_named_by_plan_and_run(lab, folder):
    folder.write(mine=HELPED, helper=HELPER)
    lab.register(ASKED)
    first = ablab.experiment(ASKED).runs[0].id
    folder.write(helper=HELPER + "# a comment\n")
    assert lab.why(ASKED) is None
    folder.write(helper=HELPER.replace("2.0", "3.0"))
    (folder.path / "asked.yaml").write_text(json.dumps(ASKED))
    line = (
        rf"2 of 2 runs are new: helper\.py changed \(was trained as {first} on \d{{4}}-\d\d-\d\d\)"
    )
    store = ["--store", str(lab.store.path), "--engine", "solo", "--compile", "off"]
    for name in ("plan", "run"):
        done = CliRunner().invoke(command, [name, "asked.yaml", *store], standalone_mode=False)
        assert len(re.findall(line, done.stderr)) == 1, name
    done = CliRunner().invoke(command, ["plan", "asked.yaml", *store], standalone_mode=False)
    assert "are new" not in done.stderr


def test_a_worker_with_other_code_than_the_command_says_so(folder):
    folder.write(mine=HELPED, helper=HELPER)
    planned = ablab.experiment(ASKED)
    stacks = tuple(PlannedStack((run,), SOLO, None, "", 0) for run in planned.runs)
    data = plan_as_data(Plan(stacks, "cpu", 1, 1))
    assert plan_from_data(data, ablab.experiment(ASKED)).stacks == stacks
    folder.write(helper=HELPER.replace("2.0", "3.0"))
    with pytest.raises(StoreError, match="changed since this command was started"):
        plan_from_data(data, ablab.experiment(ASKED))
