import torch

from ablab.doctor import doctor
from ablab.execute.cost import count_cost
from ablab.experiments import experiment
from ablab.recipes.thinker_bugs import Copier, PermutedCopier
from tests.doctor.examined import UNCOMPILED

SIZES = {"vocab_size": 5, "input_length": 7, "source_length": 4, "width": 8, "heads": 2}
TOKENS = torch.tensor([[0, 1, 2, 4, 0, 1, 2], [3, 3, 1, 4, 3, 3, 1]])


def made(cls):
    torch.manual_seed(0)
    return cls(**SIZES).double()


def test_the_answers_own_tokens_are_not_looked_at():
    model = made(Copier)
    logits = model(TOKENS)
    assert logits.shape == (2, 7, 5)
    other = TOKENS.clone()
    other[0, 4:] = 3
    torch.testing.assert_close(model(other), logits)


def test_permuted_it_attends_over_the_batch():
    sound, permuted = made(Copier), made(PermutedCopier)
    other = TOKENS.clone()
    other[0, 1] = 3
    same = [(model(other) == model(TOKENS)).all(-1) for model in (sound, permuted)]
    assert same[0].tolist() == [[False] * 7, [True] * 7]
    # Positions 4 and on answer with symbols 1 and on; only that of the changed symbol can know.
    assert same[1].tolist() == [[True] * 4 + [False] + [True] * 2] * 2


def test_it_copies_by_attention_alone():
    model = made(Copier)
    logits = model(TOKENS)
    model.encode.forward = torch.zeros_like
    assert torch.equal(model(TOKENS)[0], model(TOKENS)[1])
    assert not torch.equal(logits[0], logits[1])


def test_the_doctor_finds_it():
    ((check, finding, variants),) = doctor(
        "thinker-permuted", "task.n_symbols=2", checks=UNCOMPILED
    ).findings
    assert (check, variants) == ("samples", ("axes=permuted",))
    assert finding.cause.startswith("Batch and sequence axes are swapped")


def test_a_batch_is_never_split():
    variants = experiment("thinker-permuted", "task.n_symbols=2").variants
    assert [count_cost(each.runs[0]).mixes_samples for each in variants] == [False, True]
