"""``ablab new`` writes experiments and tasks that work as they are."""

import json
import subprocess
import sys

import pytest

from ablab.experiments.experiment import outline
from tests.cli.command import run_command


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_new_experiment_can_be_planned_as_it_is(folder):
    code, out, _ = run_command("new", "width")
    assert code == 0
    assert out.startswith("width.yaml\n")
    code, out, _ = run_command("plan", "width.yaml", "--json")
    assert code == 0
    plan = json.loads(out)
    assert sum(len(stack["runs"]) for stack in plan["stacks"]) == 9
    text = (folder / "width.yaml").read_text()
    assert "name: width\n" in text
    assert "NAME" not in text


def test_a_new_task_trains_and_passes_its_test(folder):
    code, out, _ = run_command("new", "big", "--task", "largest_number.py", "--json")
    assert code == 0
    assert json.loads(out)["written"] == ["big.yaml", "largest_number.py", "test_largest_number.py"]
    source = (folder / "largest_number.py").read_text()
    assert "class LargestNumber(Task):" in source
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_largest_number.py"],
        capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    assert "3 passed" in tested.stdout, tested.stdout
    small = ["train.steps=4", "model.d_model=4", "seeds=1", "--engine", "solo", "--compile", "off"]
    code, _, err = run_command("run", "big.yaml", *small, "--quiet", "--store", str(folder / "lab"))
    assert code == 0, err


def test_nothing_is_overwritten_and_all_or_nothing_is_written(folder):
    (folder / "test_mine.py").write_text("mine")
    code, _, err = run_command("new", "one", "--task", "mine.py")
    assert code == 2
    assert "test_mine.py exists already" in err
    assert [each.name for each in folder.iterdir()] == ["test_mine.py"]


@pytest.mark.parametrize("name", ["2024-11-28", "123", "true", "1e5", "null", "0x1f", "a.b-c_1"])
@pytest.mark.parametrize("task", [(), ("--task", "my_task.py")])
def test_a_name_that_yaml_would_read_as_something_else_is_quoted(folder, name, task):
    code, _, err = run_command("new", name, *task)
    assert code == 0, err
    assert outline(f"{name}.yaml").name == name


def test_the_commands_in_a_new_file_have_its_path(folder):
    (folder / "my sub").mkdir()
    code, _, err = run_command("new", "my sub/exp.yml")
    assert code == 0, err
    text = (folder / "my sub" / "exp.yml").read_text()
    assert text.count("'my sub/exp.yml'") == 3
    assert "\nname: exp\n" in text
    assert "exp.yaml" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x" * 101,), "at most 100 letters"),
        (("x", "--task", "copy.py"), "would hide the module copy"),
        (("x", "--task", "numpy.py"), "would hide the module numpy"),
        (("x", "--task", "_.py"), "a class cannot be named after this file"),
        (("x", "--task", "none.py"), "a class cannot be named after this file"),
        (("x", "--task", "true.py"), "a class cannot be named after this file"),
        (("x", "--task", "_1.py"), "a class cannot be named after this file"),
        (("x", "--task", "batch.py"), "the class Batch would have the name of one"),
        (("x", "--task", "split.py"), "the class Split would have the name of one"),
        (("x", "--task", "stream.py"), "the class Stream would have the name of one"),
        (("x", "--task", "task.py"), "the class Task would have the name of one"),
        (("x y",), "an experiment cannot have this name"),
        (("-",), "an experiment cannot have this name"),
        (("nowhere/x",), "there is no folder nowhere"),
        (("x", "--task", "my-task.py"), "must be a Python module"),
        (("x", "--task", "class.py"), "must be a Python module"),
        (("x", "--task", "task.txt"), "must be a Python module"),
        (("x", "--task", "sub/task.py"), "a file in this folder, such as task.py"),
    ],
)
def test_names_that_cannot_be_used(folder, arguments, message):
    code, _, err = run_command("new", *arguments)
    assert code == 2
    assert message in err
    assert list(folder.iterdir()) == []


def test_a_recipe_is_printed_to_be_copied(folder):
    code, out, _ = run_command("recipes", "addition")
    assert code == 0
    (folder / "mine.yaml").write_text(out)
    same, shipped = (
        {
            run
            for each in json.loads(run_command("plan", name, "--json")[1])["stacks"]
            for run in each["runs"]
        }
        for name in ("mine.yaml", "addition")
    )
    assert len(same) == 18
    assert same == shipped
    code, _, err = run_command("recipes", "additon")
    assert code == 2
    assert "did you mean addition?" in err


def test_claims_without_a_store_are_those_that_ablab_ships(folder):
    code, out, _ = run_command("claims", "grokking", "--json")
    assert code == 0
    found = json.loads(out)
    assert {each["logbook"] for each in found["recipes"]} == {"grokking"}
    outcomes = [claim["outcome"] for each in found["recipes"] for claim in each["claims"]]
    assert found["tally"].startswith(f"{len(outcomes)} claims: {outcomes.count('held')} held")
    code, out, _ = run_command("claims", "grokking")
    assert "There is no store 'lab' yet" in out
    assert not (folder / "lab").exists()
    assert run_command("claims", "grokking", "--size", "full", "--json")[1].count("not run") > 0
