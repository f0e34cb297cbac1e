"""The doctor on modules that know nothing of ablab, and on parts of attention by import path."""

import pytest

from ablab.doctor import doctor

SMALL = {
    "name": "small",
    "task": {"kind": "addition", "n_digits": 4, "target": "all"},
    "model": {"d_model": 16, "n_heads": 2},
}


MODULES, PARTS = "tests.doctor.plain_modules:", "tests.doctor.plain_parts:"
# The check that finds each bug.
CHECKS = {
    "NormWithoutAxis": "samples", "UnmaskedTanh": "causality", "UnmaskedLinear": "causality",
    "Swapped": "samples", "InPlaceCache": "in_place", "NoPlaces": "positions",
    "ListOfLayers": "registered",
}  # fmt: skip


def found(check, subject, *overrides):
    return [finding for _, finding, _ in doctor(subject, *overrides, checks=[check]).findings]


def test_a_healthy_module_is_silent():
    assert doctor(MODULES + "Healthy").findings == []


@pytest.mark.parametrize(
    ("name", "message", "cause"),
    [
        ("NormWithoutAxis", "samples of a batch see each other", "a norm, mean or softmax without"),
        ("UnmaskedTanh", "predictions see later tokens", "does not map minus infinity to zero"),
        ("UnmaskedLinear", "predictions see later tokens", "mask is missing, is not applied"),
        ("Swapped", "samples of a batch see each other", "Batch and sequence axes are swapped"),
        (
            "InPlaceCache",
            "a forward pass writes to the model's tensors",
            "self.k_cache[:, a:b] = k",
        ),
        ("NoPlaces", "ignores the order", "There is no positional encoding"),
        ("ListOfLayers", "missing from the optimizer", "plain list, tuple, dict or attribute"),
    ],
)
def test_a_bug_is_named(name, message, cause):
    findings = found(CHECKS[name], MODULES + name)
    assert any(message in each.message and cause in each.cause for each in findings), findings


@pytest.mark.parametrize(
    ("settings", "check", "message", "cause"),
    [
        (f"qk_norm={PARTS}NormWithoutAxis", "norms", "mixes vectors", "dim=-1"),
        (f"activation={PARTS}MaskBeforeTanh", "weights", "later positions", "before tanh"),
        (f"activation={PARTS}MaskForgotten", "weights", "later positions", "mask"),
    ],
)
def test_a_bug_in_a_part_is_named(settings, check, message, cause):
    findings = found(check, SMALL, f"model.attention.{settings}")
    assert any(message in each.message and cause in each.cause for each in findings), findings
