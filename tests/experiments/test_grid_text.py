import pytest

from ablab.experiments.experiment import experiment
from ablab.experiments.grid_text import range_text, several_text


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ([8, 16], "2"),
        ([1e-4, 1e-3, 1e-2, 1e-1], "4"),
        ([0.0001, 0.0003728, 0.001, 0.005179, 0.01], "5: 0.0001 to 0.01"),
        ([True, False, 1, 2, 3], "5"),
        (["a", "b", "c", "d", "e"], "5"),
        (list(range(2000)), "2,000: 0 to 1999"),
    ],
)
def test_numbers_are_shown_by_their_range(labels, text):
    assert range_text(labels) == text


def test_a_sweep_takes_a_few_words(tiny):
    asked = experiment(tiny, "train.lr=geomspace(1e-4,1e-2,16)")
    assert str(asked).splitlines()[-1] == (
        "model.d_model (2) × train.lr (16: 0.0001 to 0.01), 2 seeds: 64 runs"
    )
    assert str(experiment(tiny | {"grid": {}})).splitlines()[-1] == "no grid, 2 seeds: 2 runs"


def test_several_cells_in_one_line():
    cells = [{"model.d_model": 8, "train.lr": rate} for rate in (0.01, 0.001, 0.1)]
    assert several_text(cells) == "model.d_model=8, train.lr=0.001 to 0.1 (3)"
    assert several_text(cells[:1]) == "model.d_model=8, train.lr=0.01"
    assert several_text(cells[:2]) == "model.d_model=8, train.lr=0.01 and 1 more"
    other = [*cells, {"model.d_model": 16, "train.lr": 0.1}]
    assert several_text(other) == "model.d_model=8 or 16, train.lr=0.001 to 0.1 (4)"
    names = [cell | {"model.norm": "rms"} for cell in cells] + [cells[0] | {"model.norm": "none"}]
    assert several_text(names) == "model.d_model=8, train.lr=0.01, model.norm=rms and 3 more"
    assert several_text([{}]) == "base"
