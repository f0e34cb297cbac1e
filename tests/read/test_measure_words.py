import pytest

from ablab.experiments.measures import FUNCTIONS, WORDS
from ablab.read.measure_words import column_words, measure_words


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        ("leaves(log(10))", "step at which the training loss leaves log 10"),
        ("leaves(0.7, eval_loss)", "step at which the held-out loss leaves 0.7"),
        ("final(eval_loss)", "final held-out loss"),
        ("accuracy", "final held-out accuracy"),
        ("best(eval_sequence_accuracy)", "best held-out sequence accuracy"),
        ("steps_to(accuracy, 0.97)", "step at which the held-out accuracy reaches 0.97"),
        ("train_loss at 2000", "training loss at step 2,000"),
        ("at(train_loss, 2)", "training loss at step 2"),
        ("mean(loss, 100, 2000)", "mean training loss from step 100 to 2,000"),
        ("lag(eval_loss, 0.1)", "steps from the training loss to the held-out loss reaching 0.1"),
        ("spikes(loss)", "number of spikes of the training loss"),
        ("spikes(loss, 0, 1000)", "number of spikes of the training loss from step 0 to 1,000"),
        ("plateaus(loss, 0.65, 0.9)",
         "number of plateaus of the training loss between 0.65 and 0.9"),
        ("final(eval_loss/digit_0)", "final held-out loss, digit_0"),
        ("final(param/model/update_ratio)", "final param/model/update_ratio"),
        ("seconds", "training time in seconds"),
    ],
)  # fmt: skip
def test_measures_in_words(measure, words):
    assert measure_words(measure) == words


def test_every_measure_has_words():
    arguments = {"at": "loss, 1", "mean": "loss, 1, 2", "leaves": "1", "lag": "loss, 1"}
    arguments |= {"steps_to": "loss, 1", "lead": "loss, accuracy"}
    for name in FUNCTIONS:
        assert "training loss" in measure_words(f"{name}({arguments.get(name, 'loss')})")
    assert all(measure_words(name) for name in WORDS)


def test_columns_in_words():
    assert column_words("train_loss") == "training loss"
    assert column_words("eval_loss/length_512") == "held-out loss, length_512"
    assert column_words("grad/model/rms") == "grad/model/rms"
