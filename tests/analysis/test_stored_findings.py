"""Findings are kept in the store: computed once, read as columns, checked, repaired."""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from unittest.mock import MagicMock

import numpy as np
import polars as pl
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

import ablab
from ablab.analysis.chosen import choose, stored_runs
from ablab.analysis.compute import Computation
from ablab.analysis.examine import examine_unit
from ablab.analysis.figures import Bars, Curves, HeatMap, figure_as_data, figure_from_data
from ablab.analysis.request import make_request, parse_request
from ablab.config import InputError
from ablab.logbook.findings_section import findings_sections
from ablab.store.check import check_store
from ablab.store.findings import StoredFinding, read_finding, save_findings, stored_keys
from ablab.store.index import StoreError
from ablab.store.paths import finding_path
from ablab.store.repair import repair_store
from ablab.store.store import Store
from tests.analysis import my_analyses
from tests.analysis.test_analyze import ASKED
from tests.cli.command import run_command
from tests.store.makers import train

OWN = "tests.analysis.my_analyses:"
NORMS = "analysis/parameter_norms/embedding.weight/rms"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(ASKED, tmp_path_factory.mktemp("trained") / "lab", compile="off")


@pytest.fixture
def made(trained, tmp_path):
    shutil.copytree(trained.store.path, tmp_path / "lab")
    return replace(trained, store=Store(tmp_path / "lab"))


@pytest.fixture
def counted(monkeypatch):
    calls = []
    monkeypatch.setattr(my_analyses, "told", calls.append)
    return calls


def test_nothing_is_computed_twice(made, counted):
    first = ablab.analyze("looked-into", OWN + "telling", store=made.store)
    assert len(counted) == first.scalars.height == 4 * 5  # runs, kept steps with 0
    again = ablab.analyze("looked-into", OWN + "telling", store=made.store.path)
    assert len(counted) == 20 and again.scalars.equals(first.scalars)
    assert again.tables["each"].equals(first.tables["each"])
    place = (made.runs[0].run, 8)
    np.testing.assert_array_equal(again.arrays["square"][place], [[1, 2], [3, 4]])
    ablab.analyze("looked-into", OWN + "telling:factor=3", store=made.store)
    assert len(counted) == 40  # other settings
    run = ablab.open(made.store.path).run(made.runs[0].run)
    ablab.analyze(run, OWN + "telling", steps=[4])
    assert len(counted) == 40


def test_scalars_are_columns_of_the_metrics(made):
    ablab.analyze("looked-into", "parameter_norms", store=made.store)
    ablab.analyze("looked-into", OWN + "telling:factor=3", store=made.store)
    frame = made.metrics([NORMS])
    run = ablab.open(made.store.path).run(made.runs[2].run)
    rows = dict(frame.filter(run=run.id).drop_nulls().select("step", NORMS).iter_rows())
    assert sorted(rows) == sorted({0, *run.snapshots})
    weight = run.model(4).get_parameter("embedding.weight").detach().double()
    assert rows[4] == pytest.approx(float(weight.square().mean().sqrt()))
    other = f"analysis/{OWN}telling:factor:3/value"
    assert set(made.metrics([other])[other].drop_nulls()) == {3.0}
    lab = str(made.store.path)
    code, out, _ = run_command("read", "looked-into", "--column", NORMS, "--store", lab)
    assert code == 0 and out.count("ends at") + out.count("rises") >= 4
    measure = f"final({NORMS})"
    found = ablab.open(made.store.path).measure("looked-into", measure)
    assert found["value"].null_count() == 0


def test_an_edition_that_is_raised_replaces_what_was_found(made, monkeypatch):
    request = make_request(OWN + "telling")
    runs = stored_runs(made.store, "looked-into")
    chosen = choose(runs, "last")
    Computation(made.store, chosen, [request], workers=1).run()
    run = runs[0].id
    before = read_finding(made.store, run, 8, request.name)
    old = finding_path(made.store.path, run, 8, before.key)
    assert old.is_file()
    changed = StoredFinding(run, 8, request.name, "0" * 12, {"value": 9.0})
    save_findings(made.store, [changed])
    assert not old.exists()
    assert check_store(made.store).problems == []
    Computation(made.store, chosen, [request], workers=1).run()
    after = read_finding(made.store, run, 8, request.name)
    assert after.key == before.key and after.scalars == before.scalars


def test_what_fails_is_said_and_the_rest_is_kept(made, capsys):
    lab = str(made.store.path)
    code, out, err = run_command(
        "analyze", "looked-into", OWN + "failing", "parameter_norms", "--store", lab
    )
    assert code == 1
    assert "failing failed on run" in err and "ZeroDivisionError: no luck" in err
    assert "How large is each parameter" in out
    keys = stored_keys(made.store, [each.run for each in made.runs])
    assert {step for _, step, name in keys if "failing" in name} == {0, 1, 2, 4}
    with pytest.raises(InputError, match="no luck"):
        ablab.analyze(ablab.open(lab).run(made.runs[0].run), OWN + "always_failing")


def test_what_does_not_apply_is_said_once(made):
    found = ablab.analyze("looked-into", OWN + "elsewhere", store=made.store)
    assert found.scalars.height == 0
    assert found.notes == (f"{OWN}elsewhere does not apply: the task is addition",)
    code, out, _ = run_command(
        "analyze", "looked-into", OWN + "elsewhere", "--store", str(made.store.path)
    )
    assert code == 0 and out.count("does not apply") == 1


def test_damage_is_found_and_mended(made):
    ablab.analyze("looked-into", OWN + "telling", store=made.store)
    run = made.runs[1].run
    key = stored_keys(made.store, [run])[run, 4, OWN + "telling"]
    path = finding_path(made.store.path, run, 4, key)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        ablab.analyze("looked-into", OWN + "telling", store=made.store)
    checked = check_store(made.store)
    assert [each.kind for each in checked.damages] == ["finding"]
    _, actions = repair_store(made.store)
    assert any(f"ablab analyze {run}" == each.then for each in actions)
    assert check_store(made.store).problems == []
    found = ablab.analyze("looked-into", OWN + "telling", store=made.store)
    assert found.scalars.filter(run=run, step=4).height == 1


def test_a_file_that_no_finding_lists_is_a_leftover(made):
    ablab.analyze("looked-into", OWN + "telling", store=made.store)
    run = made.runs[0].run
    stray = finding_path(made.store.path, run, 4, "f" * 12)
    stray.write_bytes(b"")
    assert check_store(made.store).leftovers == [stray]


def test_processes_share_the_work_and_a_killed_one_is_replaced(made):
    lab = str(made.store.path)
    slow = OWN + "slow:seconds=0.25"
    command = [sys.executable, "-m", "ablab", "analyze", "looked-into", slow, "--store", lab]
    first = subprocess.Popen([*command, "--workers", "1", "--quiet"], stdout=subprocess.DEVNULL)
    known = {}
    deadline = time.monotonic() + 60
    while not known and time.monotonic() < deadline:
        time.sleep(0.2)
        known = stored_keys(made.store, [each.run for each in made.runs])
    first.kill()
    first.wait()
    assert 0 < len(known) < 20
    second = subprocess.run([*command, "--json"], stdout=subprocess.PIPE, check=True, timeout=120)
    told = json.loads(second.stdout)
    assert told["stored"] >= len(known) and told["stored"] + told["computed"] == 20
    assert len(told["analyses"][0]["scalars"]) == 20


def test_much_work_is_divided_so_that_others_can_share_it(made, counted, monkeypatch):
    monkeypatch.setattr("ablab.analysis.compute._DIVIDE_ABOVE_SECONDS", 0.0)
    monkeypatch.setattr("ablab.analysis.compute._FEWEST", 3)
    units = []
    monkeypatch.setattr(
        "ablab.analysis.work.examine_unit",
        lambda unit, *rest: units.append(unit) or examine_unit(unit, *rest),
    )
    chosen = choose(stored_runs(made.store, "looked-into"), "all")
    computation = Computation(made.store, chosen, [make_request(OWN + "telling")], workers=1)
    assert computation.run() and computation.processes == 1
    assert len(counted) == len(stored_keys(made.store, [each.id for each in chosen.runs])) == 20
    # One unit of all models until the time left is known; then a run each, of which 3 are done.
    assert [unit.models for unit in units] == [20, 2, 5, 5, 5]


def test_processes_have_no_threads_against_each_other(made, monkeypatch):
    monkeypatch.setattr("ablab.analysis.compute._DIVIDE_ABOVE_SECONDS", 0.0)
    monkeypatch.setattr("ablab.analysis.compute._FEWEST", 3)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    environments, here = [], []

    def blas():
        return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}

    def start(command, env, **_):
        environments.append(env)
        here.append((blas(), torch.get_num_threads()))
        return MagicMock()

    monkeypatch.setattr("ablab.analysis.compute.subprocess.Popen", start)
    chosen = choose(stored_runs(made.store, "looked-into"), "all")
    request = make_request(OWN + "telling", {"factor": 7.0})
    before = torch.get_num_threads()
    if not blas():
        pytest.skip("threads of this machine's BLAS cannot be limited")
    with threadpool_limits(4, "blas"):
        computation = Computation(made.store, chosen, [request], workers=2)
        assert computation.run() and computation.processes == 2
        assert blas() == {4} and torch.get_num_threads() == before
    (environment,) = environments
    assert environment["OMP_NUM_THREADS"] == "2"  # which OpenBLAS reads, too
    assert here == [({2}, 2)]


def test_runs_and_steps_are_chosen(made):
    lab = str(made.store.path)
    code, out, _ = run_command(
        "analyze", "looked-into", "parameter_norms", "--where", "train.lr=0.01", "--steps", "2:4",
        "--store", lab, "--json",
    )  # fmt: skip
    found = pl.DataFrame(json.loads(out)["analyses"][0]["scalars"])
    assert set(found["train.lr"]) == {0.01} and set(found["step"]) == {0, 2, 4}
    assert found["run"].n_unique() == 2
    for arguments, said in [
        (["--where", "train.lr=3"], "no run has train.lr=3"),
        (["--where", "train.rate=3"], "train.rate is not a key of the grid"),
        (["--where", "nonsense"], "the cell cannot be parsed"),
        (["--steps", "7"], "no snapshot of step 7"),
        (["--samples", "0"], "--samples 0 is below 1"),
        (["--workers", "0"], "--workers 0 is below 1"),
    ]:
        code, _, err = run_command("analyze", "looked-into", "--store", lab, *arguments)
        assert code == 2 and said in err
    code, _, err = run_command("analyze", "looked-in", "--store", lab)
    assert code == 2 and "did you mean looked-into?" in err


def test_names_of_requests():
    assert parse_request("parameter_norms").name == "parameter_norms"
    assert parse_request(OWN + "telling").name == OWN + "telling"
    own = parse_request(OWN + "telling:factor=2.5")
    assert own.name == OWN + "telling:factor:2.5" and own.settings.factor == 2.5
    listed = parse_request("parameter_norms:parameters=[a,b*]")
    assert listed.settings.parameters == ("a", "b*")
    assert listed.name.startswith("parameter_norms:parameters:a-b-")
    assert listed.key != parse_request("parameter_norms").key
    with pytest.raises(InputError, match="is not a setting"):
        parse_request("parameter_norms:parameters=a,b")
    with pytest.raises(InputError, match="no analysis called"):
        parse_request("parameter_norm")


def test_pages_show_findings_without_their_code(made, monkeypatch):
    ablab.analyze("looked-into", OWN + "telling", store=made.store)
    ablab.analyze("looked-into", OWN + "elsewhere", store=made.store)
    monkeypatch.delitem(sys.modules, "tests.analysis.my_analyses")
    sections = findings_sections(made.store, made.record, made.runs)
    assert "tests.analysis.my_analyses" not in sys.modules
    (own,) = sections.sections
    assert own.question == "Is it asked?"
    assert [(row.variant, row.name, str(row.trained)) for row in own.rows] == [
        ("lr 0.001", "value", "1 [1, 1]"),
        ("lr 0.01", "value", "1 [1, 1]"),
    ]
    assert [each.file for each in own.figures] == [
        f"analysis-{OWN}telling-numbers".replace(":", "-"),
        f"analysis-{OWN}telling-square".replace(":", "-"),
    ]
    assert json.loads(own.figures[1].cells)[0]["values"] == [[1, 2], [3, 4]]
    assert sections.not_applicable == [(OWN + "elsewhere", "the task is addition")]


def test_figures_are_kept_as_data():
    figures = [
        Curves("gini", "Sparsity", {"gini": "embedding"}, "Gini coefficient", True),
        Bars("heads", "Heads", "heads", ("block", "head"), "change", "head", "nats", sort=True),
        HeatMap("map", "Pattern", "map", "b", "a", "weight", "diverging", ("order", "key")),
    ]
    for each in figures:
        assert figure_from_data(json.loads(json.dumps(figure_as_data(each)))) == each
    assert figure_from_data({"kind": "hologram"}) is None
    assert figure_from_data({"kind": "bars", "name": "x"}) is None
