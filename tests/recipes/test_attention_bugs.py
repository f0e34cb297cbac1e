import pytest
import torch

from ablab.config import load_object
from ablab.doctor import doctor
from ablab.experiments import experiment
from ablab.model.attention_activations.none import Linear
from ablab.model.attention_activations.tanh import Tanh
from ablab.model.norms.frobenius import FrobeniusNorm
from ablab.model.norms.rms import RMSNorm
from ablab.recipes import attention_bugs as bugs
from tests.doctor.examined import UNCOMPILED

X = torch.tensor([[3.0, 4.0], [0.0, 12.0]])  # of norms 5 and 12, and 13 together
SMALL = ("model.d_model=8", "model.n_heads=2", "task.seq_len=8", "train.batch_size=8")


def test_a_frobenius_norm_without_dim_is_one_of_all_vectors():
    torch.testing.assert_close(FrobeniusNorm(2, True)(X), torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    torch.testing.assert_close(bugs.FrobeniusNormWithoutDim(2, True)(X), X / 13)


def test_an_rms_norm_without_dim_is_one_of_all_vectors():
    sound, bug = RMSNorm(2, True), bugs.RMSNormWithoutDim(2, True)
    with torch.no_grad():
        for norm in (sound, bug):
            norm.weight.copy_(torch.tensor([1.0, 2.0]))
    own = torch.tensor([[3 / 12.5**0.5, 8 / 12.5**0.5], [0.0, 24 / 72**0.5]])
    torch.testing.assert_close(sound(X), own, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(bug(X), X * torch.tensor([1.0, 2.0]) * (2**0.5 / 13))


@pytest.mark.parametrize(
    ("bug", "sound", "weights"),
    [
        (bugs.TanhWithoutMask(), Tanh(), torch.tensor([[0.5, -1.0], [2.0, 0.0]]).tanh()),
        (bugs.LinearWithoutMask(), Linear(), torch.tensor([[0.5, -1.0], [2.0, 0.0]])),
    ],
)
def test_without_the_mask_later_keys_have_weights(bug, sound, weights):
    scores = torch.tensor([[0.5, -1.0], [2.0, 0.0]])
    hidden = torch.tensor([[False, True], [False, False]])
    torch.testing.assert_close(bug.weights(bug.scores(scores, hidden), hidden), weights)
    masked = sound.weights(sound.scores(scores, hidden), hidden)
    torch.testing.assert_close(masked, weights.masked_fill(hidden, 0.0))


def test_the_recipe_names_every_bug(tinyshakespeare):
    variants = experiment("attention-norms-bugs").variants
    named = {
        setting
        for variant in variants
        for setting in (
            variant.parts.model.attention.activation,
            variant.parts.model.attention.qk_norm,
            variant.parts.model.attention.post_norm,
        )
        if ":" in setting
    }
    assert {load_object(each, "model") for each in named} == {
        bugs.FrobeniusNormWithoutDim,
        bugs.RMSNormWithoutDim,
        bugs.TanhWithoutMask,
        bugs.LinearWithoutMask,
    }


def test_sound_cells_are_runs_of_attention_norms(tinyshakespeare):
    whole = {run.id for run in experiment("attention-norms").runs}
    sound = ["attention=softmax,sigmoid,tanh,none"]
    sound.append("norm='no norm','qk frobenius','qk rms','post rms'")
    story = experiment("attention-norms-bugs", *sound)
    assert len(story.runs) == 4 * 4 * 5
    assert {run.id for run in story.runs} <= whole


@pytest.mark.parametrize(
    ("activation", "norm", "checks"),
    [
        ("tanh without mask", "no norm", {"causality", "weights"}),
        ("none without mask", "no norm", {"causality", "weights"}),
        ("softmax", "qk frobenius without dim", {"norms", "samples"}),
        ("softmax", "qk rms without dim", {"norms", "samples"}),
        ("softmax", "post rms without dim", {"norms", "samples"}),
    ],
)
def test_the_doctor_finds_each_bug(activation, norm, checks, tinyshakespeare):
    cell = (f"attention='{activation}'", f"norm='{norm}'")
    report = doctor("attention-norms-bugs", *cell, *SMALL, checks=UNCOMPILED)
    found = {check for check, _, _ in report.findings}
    assert checks <= found
