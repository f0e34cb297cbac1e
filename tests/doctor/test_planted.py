"""The doctor names each planted bug, and says nothing of a healthy copy."""

import pytest

from ablab.doctor import doctor

MODELS, TASKS = "tests.doctor.planted:", "tests.doctor.planted_tasks:"


@pytest.mark.parametrize(
    ("path", "check", "cause"),
    [
        (MODELS + "NormWithoutAxis", "samples", "instead of torch.norm(x, dim=-1, keepdim=True)"),
        (MODELS + "NormWithoutAxis", "norms", "The norm has no axis"),
        (MODELS + "TanhUnmasked", "causality", "tanh maps it to -1"),
        (MODELS + "TanhUnmasked", "weights", "tanh(-inf) is -1, not 0"),
        (MODELS + "LinearUnmasked", "causality", "The causal mask is missing"),
        (MODELS + "LinearUnmasked", "weights", "The mask is not applied"),
        (MODELS + "LinearWithLargeMask", "weights", "a linear activation (or none) does not map"),
        (MODELS + "LinearWithInfiniteMask", "forward", "A mask of minus infinity reaches a linear"),
        (MODELS + "BatchSecond", "samples", "Batch and sequence axes are swapped"),
        (MODELS + "BatchSecondMaskOfPositions", "forward", "Batch and sequence axes are swapped"),
        (MODELS + "CacheInPlace", "in_place", "self.k_cache[:, a:b] = k"),
        (MODELS + "NoPositions", "positions", "There is no positional encoding"),
        (MODELS + "GainLeftOut", "registered", "Use nn.ParameterList"),
        (TASKS + "UnshiftedSums", "targets", "Targets are not shifted"),
        (TASKS + "ShiftedTwiceSums", "targets", "shifted by"),
        (TASKS + "PaddingPredicted", "padding", "Set the targets of padding to IGNORED"),
        (TASKS + "UndeclaredPaddingPredicted", "padding", "Set the targets of padding to IGNORED"),
        (TASKS + "HardlySeeded", "batches", "A part of the draw ignores the seed"),
        (TASKS + "TestInsideTrain", "split", "or evaluation draws from the training data"),
    ],
)
def test_a_planted_bug_is_named(path, check, cause):
    report = doctor(path, checks=[check])
    assert {outcome.check for outcome in report.outcomes} == {check}
    assert any(cause in finding.cause for _, finding, _ in report.findings), str(report)


@pytest.mark.parametrize(
    "path",
    [
        MODELS + name
        for name in ("Healthy", "NormWithAxis", "TanhMasked", "LinearMasked", "BatchFirst")
    ]
    + [MODELS + "Gained"]
    + [TASKS + name for name in ("Sums", "FewSums", "Ragged")],
)
def test_nothing_is_found_in_a_healthy_copy(path):
    report = doctor(path)
    assert report.healthy, str(report)
    assert {outcome.status for outcome in report.outcomes} <= {"ok", "not applicable"}
