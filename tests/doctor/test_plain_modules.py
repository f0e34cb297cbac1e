"""The doctor on modules that know nothing of ablab, and on parts of attention by import path."""

import pytest

from ablab.doctor import doctor

SMALL = {
    "name": "small",
    "task": {"kind": "addition", "n_digits": 4, "target": "all"},
    "model": {"d_model": 16, "n_heads": 2},
}


def found_in(name):
    report = doctor(f"tests.doctor.plain_modules:{name}")
    return [finding for _, finding, _ in report.findings]


def test_a_healthy_module_is_silent():
    assert found_in("Healthy") == []


@pytest.mark.parametrize(
    ("name", "message", "cause"),
    [
        ("NormWithoutAxis", "samples of a batch see each other", "a norm, mean or softmax without"),
        ("UnmaskedTanh", "predictions see later tokens", "does not turn minus infinity into zero"),
        ("UnmaskedLinear", "predictions see later tokens", "mask is missing, is not applied"),
        ("Swapped", "samples of a batch see each other", "Batch and sequence axes are swapped"),
        ("InPlaceCache", "a forward pass writes into the model", "self.k_cache[:, a:b] = k"),
        ("NoPlaces", "does not know the order", "Positions are missing"),
        ("ListOfLayers", "left out of the optimizer", "plain list, tuple, dict or attribute"),
    ],
)
def test_a_bug_is_named(name, message, cause):
    assert any(message in each.message and cause in each.cause for each in found_in(name))


@pytest.mark.parametrize(
    ("settings", "message", "cause"),
    [
        ("qk_norm=tests.doctor.plain_parts:NormWithoutAxis", "mixes vectors", "dim=-1"),
        ("activation=tests.doctor.plain_parts:MaskBeforeTanh", "later positions", "before tanh"),
        ("activation=tests.doctor.plain_parts:MaskForgotten", "later positions", "mask"),
    ],
)
def test_a_bug_in_a_part_is_named(settings, message, cause):
    found = [finding for _, finding, _ in doctor(SMALL, f"model.attention.{settings}").findings]
    assert any(message in each.message and cause in each.cause for each in found), found
