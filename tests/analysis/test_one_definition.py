"""Findings of a run are of one definition: one edition, one source, one last step."""

import numpy as np

import ablab
from ablab.store import Store
from ablab.store.findings import StoredFinding, read_finding, save_findings
from ablab.store.transfer import transfer
from tests.analysis.test_analyze import ASKED
from tests.store.makers import train

OWN = "tests.analysis.my_analyses:beside_last"
ONE_RUN = ASKED | {"grid": {}, "seeds": [0]}
COLUMN = f"analysis/{OWN}/step"


def logged(store, name):
    """The values of the analysis of an experiment, by step."""
    frame = store.metrics(name)
    if COLUMN not in frame.columns:
        return {}
    return dict(frame.select("step", COLUMN).drop_nulls().iter_rows())


def trained_twice(folder):
    """An experiment of 8 steps, and one that trains its run to step 12."""
    train(ONE_RUN, folder, compile="off")
    longer = ONE_RUN | {"name": "longer", "train": ONE_RUN["train"] | {"steps": 12}}
    train(longer, folder, compile="off")
    return ONE_RUN["name"], "longer"


def test_a_curve_has_numbers_of_one_last_step_only(tmp_path):
    name, longer = trained_twice(tmp_path / "lab")
    ablab.analyze(name, OWN, store=tmp_path / "lab")
    assert logged(ablab.open(tmp_path / "lab"), name) == dict.fromkeys((0, 1, 2, 4, 8), 8)
    ablab.analyze(longer, OWN, steps="last", store=tmp_path / "lab")
    opened = ablab.open(tmp_path / "lab")
    assert logged(opened, longer) == {0: 12, 12: 12}
    # They say nothing of an experiment that ends at step 8.
    assert logged(opened, name) == {}
    ablab.analyze(name, OWN, store=tmp_path / "lab")
    assert set(logged(ablab.open(tmp_path / "lab"), name).values()) == {8}


def test_what_another_key_has_found_is_removed_with_its_file(tmp_path):
    made = train(ONE_RUN, tmp_path / "lab", compile="off")
    run, array = made.runs[0].run, {"map": np.eye(2)}
    first = [
        StoredFinding(run, step, "mine", "0" * 12, {"x": 1.0}, arrays=array) for step in (0, 4, 8)
    ]
    other = StoredFinding(run, 4, "other", "2" * 12, {"x": 1.0}, arrays=array)
    save_findings(made.store, [*first, other])
    save_findings(made.store, [StoredFinding(run, 8, "mine", "1" * 12, {"x": 2.0}, arrays=array)])
    kept = made.store.index.rows("SELECT step, name, key FROM findings ORDER BY name, step")
    assert [tuple(row) for row in kept] == [(8, "mine", "1" * 12), (4, "other", "2" * 12)]
    files = {path.name for path in (tmp_path / "lab" / "findings" / run).iterdir()}
    assert files == {f"8-{'1' * 12}.safetensors", f"4-{'2' * 12}.safetensors"}
    np.testing.assert_array_equal(read_finding(made.store, run, 8, "mine").arrays["map"], np.eye(2))


def test_findings_of_another_key_do_not_come_with_a_copy(tmp_path):
    made = [train(ONE_RUN, tmp_path / name, compile="off") for name in ("from", "to")]
    run = made[0].runs[0].run
    for each, key in zip(made, ("0", "1"), strict=True):
        steps = (0, 4, 8) if key == "0" else (8,)
        save_findings(
            each.store, [StoredFinding(run, step, "mine", key * 12, {"x": 1.0}) for step in steps]
        )
    save_findings(made[0].store, [StoredFinding(run, 4, "other", "2" * 12, {"x": 1.0})])
    for each in made:
        each.store.close()
    source, target = Store(tmp_path / "from"), Store(tmp_path / "to")
    transfer(source, target, source.experiments(), "all")
    kept = target.index.rows("SELECT step, name, key FROM findings ORDER BY name")
    assert [tuple(row) for row in kept] == [(8, "mine", "1" * 12), (4, "other", "2" * 12)]
