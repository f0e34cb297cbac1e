"""What ``ablab analyze`` prints: a line for each variant and number, in 80 columns."""

import numpy as np
from scipy import stats

from ablab.analysis.analysis import AT_MOST_ONE, NOT_NEGATIVE, SHARE, analysis
from ablab.analysis.finding import Finding
from ablab.cli.common import print_table
from tests.cli.command import run_command
from tests.store.makers import train

ASKED = {
    "name": "seen",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"d_model": 4, "n_heads": 1},
    "train": {"steps": 2, "batch_size": 8},
    "grid": {"train.lr": [0.01, 0.1]},
    "seeds": 3,
}
LOSSES = (0.2, 0.4, 1.6)  # of three models in turn, with even logarithms and so a median of 0.4


@analysis(
    "counted",
    question="What is it?",
    inputs=["model"],
    cost="nothing",
    headline=["loss", "a_very_long_name_of_a_share_of_something"],
    limits={"loss": NOT_NEGATIVE, "*share*": SHARE},
)
def counted(subject, settings):
    place = counted_models.setdefault(subject.run, len(counted_models) % 3)
    trained = 0.0 if subject.step else 3.0
    return Finding(
        {
            "loss": LOSSES[place] + trained,
            "a_very_long_name_of_a_share_of_something": None if place == 2 else 0.25,
            "change": 2.0 - place,
        }
    )


counted_models: dict[str, int] = {}


def test_a_line_for_each_variant_and_number(tmp_path):
    train(ASKED, tmp_path / "lab", compile="off")
    name = "tests.cli.test_analyze_table:counted"
    command = ["analyze", "seen", name, "--store", str(tmp_path / "lab"), "--workers", "1"]
    code, out, err = run_command(*command, "--quiet")
    assert code == 0, err
    lines = out.splitlines()
    assert max(len(line) for line in lines if line.startswith("  ")) <= 80
    logs = np.log(LOSSES)
    low, high = np.exp(stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs)))
    for variant in ("lr 0.01", "lr 0.1"):
        (place,) = [
            n for n, line in enumerate(lines) if line.startswith(f"{variant}, medians over 3 runs")
        ]
        header, loss, share = (line.split() for line in lines[place + 1 : place + 4])
        assert header == ["number", "untrained", "trained", "95%", "interval"]
        assert loss == ["loss", "3.4", "0.4", f"[{low:.3g},", f"{high:.3g}]"]
        assert share[1:] == ["0.25", "0.25", "2", "of", "3"]
    assert f"and 1 further number: --details, or columns analysis/{name}/…" in out
    code, out, err = run_command(*command, "--quiet", "--details")
    assert code == 0, err
    assert "0.4 [0.2, 1.6]" in out and "1 [0, 2]" in out and "further" not in out


@analysis(
    "explained",
    question="How much is explained?",
    inputs=["model"],
    cost="nothing",
    limits={"loss": NOT_NEGATIVE, "explained": AT_MOST_ONE},
)
def explained(subject, settings):
    place = explained_models.setdefault(subject.run, len(explained_models) % 3)
    return Finding({"explained": EXPLAINED[place], "loss": LOSSES[place]})


EXPLAINED = (0.9, 0.8, 0.6)  # not skewed, and no lower end, so it is the mean that has an interval
explained_models: dict[str, int] = {}


def test_medians_and_means_are_separate_tables(tmp_path):
    train(ASKED | {"grid": {}}, tmp_path / "lab", compile="off")
    name = "tests.cli.test_analyze_table:explained"
    command = ["analyze", "seen", name, "--store", str(tmp_path / "lab"), "--workers", "1"]
    code, out, err = run_command(*command, "--quiet")
    assert code == 0, err
    lines = [line.split() for line in out.splitlines()]
    (medians,) = [n for n, line in enumerate(lines) if line == ["medians", "over", "3", "runs"]]
    assert lines[medians + 2][:3] == ["loss", "0.4", "0.4"]
    (means,) = [n for n, line in enumerate(lines) if line == ["means", "over", "3", "runs"]]
    low, _ = stats.t.interval(0.95, 2, np.mean(EXPLAINED), stats.sem(EXPLAINED))
    assert lines[means + 2] == ["explained", "0.7667", "0.7667", f"[{low:.3g},", "1]"]


def test_records_are_indented_as_tables_are(capsys, monkeypatch):
    """Where a table does not fit its width, each row is printed as a record."""
    monkeypatch.setenv("COLUMNS", "30")
    print_table(["number", "95% interval"], [["a" * 16, "[1, 2]"], ["b", ""]], indent=2)
    lines = capsys.readouterr().out.splitlines()
    assert any("a" * 16 in line for line in lines)
    assert all(not line or (line.startswith("  ") and len(line) <= 30) for line in lines)


APART = (0.01, 0.011, 2.3, 2.31, 2.32)
apart_models: dict[str, int] = {}


@analysis(
    "apart", question="Did it?", inputs=["model"], cost="nothing", limits={"loss": NOT_NEGATIVE}
)
def apart(subject, settings):
    place = apart_models.setdefault(subject.run, len(apart_models) % 5)
    return Finding({"loss": APART[place]})


def test_groups_are_counted_in_place_of_an_interval(tmp_path):
    train(ASKED | {"grid": {}, "seeds": 5}, tmp_path / "lab", compile="off")
    name = "tests.cli.test_analyze_table:apart"
    command = ["analyze", "seen", name, "--store", str(tmp_path / "lab"), "--workers", "1"]
    code, out, err = run_command(*command, "--quiet")
    assert code == 0, err
    (line,) = [line.split() for line in out.splitlines() if line.startswith("  loss")]
    assert line == ["loss", "2.3", "2.3", "2", "of", "5", "below", f"{(0.011 * 2.3) ** 0.5:.3g}"]
