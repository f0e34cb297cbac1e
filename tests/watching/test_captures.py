"""Captures of experiments whose architectures differ."""

import pytest

import ablab
from ablab.config import InputError
from ablab.watching.names import matches, split_pattern
from tests.store.makers import train

ASKED = {
    "name": "layers",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"kind": "transformer", "d_model": 8, "n_heads": 2},
    "train": {"steps": 4, "batch_size": 4},
    "watch": {"captures": {"what": "blocks.1.attn.pattern", "samples": 2, "steps": [2]}},
    "grid": {"model.n_layers": [1, 2]},
}


def test_a_pattern_needs_to_match_in_some_architecture_only(tmp_path):
    trained = train(ASKED, tmp_path / "lab")
    captures = {run.variant["model.n_layers"]: 0 for run in trained.runs}
    paths = [
        str(path) for path in (tmp_path / "lab").rglob("*.safetensors") if "capture" in str(path)
    ]
    for run in trained.runs:
        captures[run.variant["model.n_layers"]] = sum(run.run in path for path in paths)
    assert captures == {1: 0, 2: 1}


def test_a_pattern_that_matches_in_none_is_named(tmp_path):
    watch = {"captures": {"what": ["blocks.1.attn.pattern", "blocks.7.attn.z"]}}
    with pytest.raises(InputError, match=r"'blocks\.7\.attn\.z' matches no tensor"):
        ablab.run(ASKED | {"watch": watch}, store=tmp_path / "lab")
    assert not (tmp_path / "lab").exists()


@pytest.mark.parametrize(
    ("pattern", "name", "is_match"),
    [
        ("optimizer/exp_avg/*", "optimizer/exp_avg/tokens.weight/rms", True),
        ("optimizer/exp_avg/rms", "optimizer/exp_avg/tokens.weight/rms", True),
        ("optimizer/exp_avg/rms", "optimizer/exp_avg/tokens.weight/max_abs", False),
        ("optimizer/exp_avg/rms", "optimizer/exp_avg_sq/tokens.weight/rms", False),
        ("optimizer/exp_avg/tokens.weight/rms", "optimizer/exp_avg/tokens.weight/rms", True),
        ("*/rms", "grad/tokens.weight/rms", True),
        ("*/rms", "optimizer/exp_avg/tokens.weight/rms", True),
        ("param/rms", "param/tokens.weight/rms", True),
        ("param/rms", "param/tokens.weight/std", False),
        ("param/tokens.weight", "param/tokens.weight/std", True),
    ],
)
def test_patterns_without_all_their_parts(pattern, name, is_match):
    assert matches(name, split_pattern(pattern)) == is_match
