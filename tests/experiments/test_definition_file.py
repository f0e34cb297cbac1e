"""A definition that was written as YAML has the same runs."""

import pytest

import ablab
from ablab.config import InputError
from ablab.experiments.definition_file import definition_yaml

AWKWARD = {
    "name": "awkward",
    "question": "Does 'it': {work} # here?\nOn two lines, with ü and \"quotes\"?",
    "task": {"kind": "addition", "n_digits": 1},
    "train": {"steps": 4, "lr": 1e-05, "eps": 1e-12},
    "grid": {
        "cure": {"none": {}, "epsilon 1e-6": {"train.eps": 1e-06}, "on": {"train.lr": 3e-4}},
        "model.attention.bias": [True, False],
        "width": {"8": {"model.d_model": 8, "model.n_heads": 2}, "64/1": {"model.d_model": 64}},
    },
    "seeds": [3, 5],
    "answer": "leaves(log(10))",
    "expect": [{"measure": "final(loss)", "below": 2.5}, "final(loss) falls with width"],
}


@pytest.mark.parametrize("name", sorted(ablab.recipes()))
def test_every_recipe_has_the_same_runs_from_its_file(name, tmp_path):
    try:
        made = ablab.experiment(name).resolve()
    except InputError as error:
        if [each.key for each in error.problems] != ["task.corpus"]:
            raise
        pytest.skip(str(error.problems[0].message))  # its corpus is not here
    path = tmp_path / "experiment.yaml"
    path.write_text(definition_yaml(made.definition), encoding="utf-8")
    again = ablab.experiment(path)
    assert again.definition == made.definition
    assert [run.id for run in again.runs] == [run.id for run in made.runs]


def test_names_numbers_and_texts_stay_what_they_are(tmp_path):
    made = ablab.experiment(AWKWARD)
    path = tmp_path / "other.yaml"
    text = definition_yaml(made.definition, "Two lines\nof comment")
    path.write_text(text, encoding="utf-8")
    assert text.startswith("# Two lines\n# of comment\nname: awkward\n")
    again = ablab.experiment(path)
    assert again.question == AWKWARD["question"]
    assert [run.id for run in again.runs] == [run.id for run in made.runs]
    assert len(again.runs) == 3 * 2 * 2 * 2
    assert again.digest == made.digest


def test_a_size_is_applied_once(tmp_path):
    sizes = {"full": {"set": {"train.steps": 9, "seeds": 2}}}
    made = ablab.experiment(AWKWARD | {"seeds": 1, "sizes": sizes}, size="full")
    path = tmp_path / "experiment.yaml"
    path.write_text(definition_yaml(made.definition), encoding="utf-8")
    again = ablab.experiment(path)
    assert again.definition["size"] == "full"
    assert {run.train.steps for run in again.runs} == {9}
    assert again.seeds == (0, 1)


def test_cells_are_a_line_each(tiny, tmp_path):
    made = ablab.experiment(
        tiny | {"grid": {"zip": {"model.d_model": [8, 16], "train.lr": [0.1, 0.01]}}}
    )
    text = definition_yaml(made.definition)
    assert text.endswith(
        "cells:\n- {model.d_model: 8, train.lr: 0.1}\n- {model.d_model: 16, train.lr: 0.01}\n"
        "seeds:\n- 0\n- 1\n"
    )
    path = tmp_path / "experiment.yaml"
    path.write_text(text)
    assert ablab.experiment(path) == made
