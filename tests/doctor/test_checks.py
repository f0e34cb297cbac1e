import pytest
import torch

from ablab.doctor import doctor
from ablab.doctor.check import NotApplicable, all_checks
from ablab.doctor.checks import registered, stack, weights
from tests.doctor.examined import findings_of

MORE = "tests.doctor.planted_more:"
ADDITION = {"name": "sums", "task": {"kind": "addition", "n_digits": 4, "target": "all"}}
SMALL = ADDITION | {"model": {"kind": "transformer", "d_model": 8, "n_heads": 2}}


@pytest.mark.parametrize(
    ("model", "check", "message", "evidence"),
    [
        ("AlwaysDropping", "evaluation", "different outputs in evaluation", "differ by up to"),
        ("Forgets", "evaluation", "different outputs in evaluation", "differ by up to"),
        ("HardCodedPrecision", "types", "does not run in float64", "dtype"),
        ("ReturnsFloat32", "types", "does not stay in float64", "torch.float32"),
        ("PlainTable", "types", "do not move with the model", "table['sines'] (14 entries)"),
        ("HomelessTensor", "types", "does not run on another device", "meta"),
        (
            "SureOfItself",
            "initial_loss",
            "confident in wrong answers",
            "among 12 tokens gives 2.485",
        ),
        ("Unused", "gradients", "parameters get no gradient", "spare.weight: no gradient"),
        ("Deaf", "gradients", "parameters get no gradient", "embedding.weight: a gradient of"),
        ("Frozen", "gradients", "parameters are frozen", "key.weight"),
        ("BuiltOnce", "gradients", "under two names", "query.weight = key.weight"),
        ("Deaf", "memorises", "cannot memorise", "the lowest possible loss is 1.0"),
        ("MeanOverBatch", "samples", "see each other", "(1, 0), (1, 1), (1, 2)"),
        ("BatchNormed", "samples", "see each other", "(sample 0, position 0)"),
        ("BatchNormed", "norms", "norm (OverBatch) mixes vectors", "of the 41 others"),
        ("BatchNormed", "in_place", "writes to the model's tensors", "norm.running_mean"),
        ("Misnamed", "norms", "does not match its name", "doubling the input"),
        ("SoftmaxOverQueries", "weights", "do not sum to one", "the sums are between"),
        ("DrawnByPython", "seed", "not a function of the seed", "query.bias, key.bias"),
        ("Frozen", "stack", "cannot train this model", "key.weight is frozen"),
        ("Raises", "forward", "raises an error", "KeyError: 'no such table'"),
        ("LastOnly", "forward", "wrong shape", "give (3, 12); expected (3, 14, 12)"),
    ],
)
def test_a_bug_is_found_with_its_evidence(model, check, message, evidence):
    found = findings_of(check, MORE + model)
    assert any(message in f.message and evidence in f.evidence for f in found), found


@pytest.mark.parametrize(
    ("model", "check", "note"),
    [
        ("Branches", "stack", "cannot be stacked"),
        ("DroppingByTorch", "seed", "torch's global random numbers"),
    ],
)
def test_what_only_costs_speed_or_repetition_is_noted(model, check, note):
    report = doctor(MORE + model, checks=[check])
    assert report.healthy
    assert note in report.outcomes[0].notes[0]


@pytest.mark.parametrize(
    ("model", "check"),
    [
        ("Tied", "gradients"),
        ("ZeroOutput", "gradients"),
        ("ZeroOutput", "registered"),
        ("ZeroOutput", "samples"),
        ("ZeroOutput", "memorises"),
        ("Branches", "seed"),
        ("HomelessTensor", "samples"),
        ("Branches", "in_place"),
        ("BuiltOnce", "registered"),
    ],
)
def test_what_is_sound_is_left_alone(model, check):
    assert findings_of(check, MORE + model) == []


def test_a_mean_over_the_batch_is_told_from_a_norm_over_everything():
    (mean,) = findings_of("samples", MORE + "MeanOverBatch")
    (whole,) = findings_of("samples", "tests.doctor.planted:NormWithoutAxis")
    assert "A statistic runs over the batch axis" in mean.cause
    assert "A statistic runs over the whole batch" in whole.cause


def test_a_sample_of_a_long_epoch_stands_for_all_of_it():
    assert findings_of("split", "tests.doctor.planted_tasks:Numbered") == []
    (found,) = findings_of("split", "tests.doctor.planted_tasks:NumberedInside")
    assert "which is 5.01% of an epoch" in found.evidence


def test_few_different_samples_meet_in_training():
    (found,) = findings_of("split", SMALL, "task.n_digits=2")
    assert "so few distinct samples that training sees them all" in found.cause


def test_a_loss_below_guessing_is_found():
    tree = {"task": {"kind": "tests.doctor.planted_tasks:UnshiftedSums"}, "name": "copied"}
    (found,) = findings_of("initial_loss", tree | {"model": {"kind": MORE + "Copies"}})
    assert found.message == "the untrained model predicts better than chance"


def test_an_optimizer_that_leaves_a_parameter_out_is_found(monkeypatch):
    class Partial(registered.Stack):
        def advance(self, steps):
            kept = self.layout.views(self.theta)["blocks.0.norm1.bias"].clone()
            result = super().advance(steps)
            self.layout.views(self.theta)["blocks.0.norm1.bias"].copy_(kept)
            return result

    monkeypatch.setattr(registered, "Stack", Partial)
    (found,) = findings_of("registered", SMALL)
    assert "did not move in 3 steps of adamw" in found.message
    assert found.evidence == "blocks.0.norm1.bias"


def test_a_stack_that_differs_is_found(monkeypatch):
    exact = stack._losses
    monkeypatch.setattr(stack, "_losses", lambda runs: exact(runs) * (1 + 1e-3 * (len(runs) > 1)))
    (found,) = findings_of("stack", SMALL)
    assert "differs from the run alone" in found.message
    assert "in a stack of two" in found.evidence


def test_softmax_rows_of_the_transformer_must_sum_to_one(monkeypatch):
    exact = weights.watch

    def scaled(model, tokens, names):
        logits, seen = exact(model, tokens, names)
        return logits, {name: pattern * 0.9 for name, pattern in seen.items()}

    assert findings_of("weights", SMALL) == []
    monkeypatch.setattr(weights, "watch", scaled)
    (found,) = findings_of("weights", SMALL)
    assert found.evidence == "the sums are between 0.9 and 0.9"


@pytest.mark.parametrize(
    ("check", "settings", "reason"),
    [
        ("causality", ["task.target=last"], "only the last position is predicted"),
        ("targets", ["task.target=last"], "no predicted position has a next token in the input"),
        ("positions", ["model.kind=bigram"], "fewer than two earlier tokens"),
        ("weights", ["model.kind=bigram"], "no site called pattern"),
        ("norms", ["model.norm=none"], "no norm"),
    ],
)
def test_a_check_says_why_it_does_not_apply(check, settings, reason):
    with pytest.raises(NotApplicable, match=reason):
        findings_of(check, SMALL, *settings)


def test_what_cannot_be_stacked_for_its_dropout_is_left_to_the_check_of_seeds():
    with pytest.raises(NotApplicable, match="see seed"):
        findings_of("stack", MORE + "DroppingByTorch")


def test_a_table_of_bigrams_is_not_blamed_for_what_it_cannot_see():
    assert findings_of("memorises", ADDITION | {"model": "bigram"}, "task.target=last") == []


def test_every_check_has_a_claim_and_the_random_state_is_left_alone():
    before = torch.random.get_rng_state()
    names = [each.name for each in all_checks()]
    assert len(names) == len(set(names)) == 31
    assert all(each.claim for each in all_checks())
    assert str(doctor(MORE + "AlwaysDropping")) == str(doctor(MORE + "AlwaysDropping"))
    assert torch.equal(before, torch.random.get_rng_state())
