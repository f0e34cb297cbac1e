import pytest
from hypothesis import given
from hypothesis import strategies as st

import ablab
from ablab.config import InputError
from ablab.experiments import grammar
from ablab.experiments.expectations import parse_expectation
from ablab.experiments.measures import FUNCTIONS, Measure, is_of_end, parse_measure

BASE = {"name": "a", "task": {"kind": "addition"}, "grid": {"model.d_model": [8, 16]}}
SENTENCES = [
    "leaves(log(10)) falls with model.d_model",
    "final(eval_loss) rises with model.n_heads where model.d_model=8, train.lr=0.001",
    "final(loss) is lower where model.n_heads=1 than where model.n_heads=4 by 0.1",
    "grad/blocks.0.attn.W_Q/mean_norm at 500 is higher where a=x than where a=y",
    "accuracy is the same where a=1 as where a=2 within 0.05",
    "steps_to(loss, 0.1) is between 100 and 200 where a.b=null",
    "leaves(log(10)) falls with model.d_model by a factor between 1.3 and 1.8",
    "final(loss) rises with train.lr where model.d_model=8 by a factor between 1 and 2.5",
    "accuracy is above 0.97",
    "floor(loss) is below 1e-06 where a=true",
    "leaves(log(10)) is below 4000 predicted for model.d_model=2",
    "final(loss) is lower if leaves(log(10)) is reached than otherwise where a=1 by 0.1",
    "loss is higher if accuracy is below 0.5 than otherwise",
    "loss is between 1 and 2 predicted for model.d_model=2.5 from 4, 8, 16, 32 where a=1",
]


@pytest.mark.parametrize(
    ("text", "measure"),
    [
        ("final(loss)", ("final", "train_loss", ())),
        ("accuracy", ("final", "eval_accuracy", ())),
        ("eval_loss/digit_0", ("final", "eval_loss/digit_0", ())),
        ("best(eval_loss)", ("best", "eval_loss", ())),
        ("leaves(0.8, eval_loss)", ("leaves", "eval_loss", (0.8,))),
        ("steps_to(accuracy, 0.5)", ("steps_to", "eval_accuracy", (0.5,))),
        ("param/model/rms at 20", ("at", "param/model/rms", (20,))),
        ("at(lr, 20)", ("at", "lr", (20,))),
        ("mean(grad_norm, 1, 50)", ("mean", "grad_norm", (1, 50))),
        ("diverged", ("diverged", "train_loss", ())),
    ],
)
def test_measures(text, measure):
    assert parse_measure(text) == Measure(text, *measure)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("finl(loss)", "did you mean final?"),
        ("final()", "cannot be parsed"),
        ("final(loss", "cannot be parsed at its end"),
        ("floor", "floor needs arguments"),
        ("leaves(loss)", "wrong arguments for leaves"),
        ("at(lr, 1.5)", "1.5 is not a step"),
        ("leaves(log(-1))", "is not a number"),
        ("", "cannot be parsed at its end"),
        ("__import__('os').system('true')", "cannot be parsed"),
        ("1 + 1", "cannot be parsed"),
    ],
)
def test_what_is_no_measure(text, message):
    with pytest.raises(InputError) as error:
        parse_measure(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "is_end"),
    [
        ("loss", True),
        ("final(loss)", True),
        ("leaves(log(10))", False),  # all runs that have a value have left it, sooner or later
        ("at(loss, 20)", False),
        ("loss at 20", False),
        ("mean(loss, 1, 20)", False),
        ("highest(loss)", False),
    ],
)
def test_a_measure_at_a_step_does_not_tell_which_runs_learnt(text, is_end):
    assert parse_measure(text).is_end is is_end
    assert is_of_end(text) is is_end


@given(st.text(max_size=40))
def test_any_text_is_a_measure_or_an_input_error(text):
    for parse in (parse_measure, parse_expectation):
        try:
            parse(text)
        except InputError as error:
            assert error.problems


@pytest.mark.parametrize("text", SENTENCES)
def test_sentences_are_read_back(text):
    expectation = parse_expectation(text)
    assert expectation.sentence == text
    assert parse_expectation(text + " with confidence 0.7") == expectation.model_copy(
        update={"confidence": 0.7}
    )


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ([{"measure": "accuracy"}], "exactly one of falls_with"),
        ([{"measure": "accuracy", "above": 1, "below": 2}], "found below, above"),
        ([{"measure": "accuracy", "abov": 1}], "did you mean above?"),
        ([{"above": 1}], "expect.0.measure is missing"),
        (
            [{"measure": "accuracy", "same_as": {"model.d_model": 8}}],
            "margin must be given together",
        ),
        ([{"measure": "accuracy", "above": 0, "confidence": 2}], "expect.0.confidence"),
        (
            [{"measure": "loss", "below": 1, "factor": [1, 2]}],
            "factor can only be used with falls_with",
        ),
        ([{"measure": "loss", "falls_with": "model.d_model", "factor": [2, 1]}], "lower one first"),
        (
            [{"measure": "loss", "falls_with": "model.d_model", "predicts": {"model.d_model": 2}}],
            "predicts can only be used with within, below or above",
        ),
        (
            ["loss is below 1 predicted for model.d_model=2 from 4, 8, 16"],
            "at least 4 other values",
        ),
        (["loss is below 1 predicted for model.d_mdel=2"], "did you mean model.d_model?"),
        (["loss is below 1 predicted for model.d_model=wide"], "predicts.model.d_model"),
        (
            [{"measure": "loss", "below": 1, "trained": [1, 2, 3, 4]}],
            "trained can only be used with predicts",
        ),
        (["loss falls with model.d_mdel"], "did you mean model.d_model?"),
        (["loss falls"], "cannot be parsed at its end"),
        ("loss falls with model.d_model", "expect is not a list"),
        ([3], "expect.0 is not an expectation"),
    ],
)
def test_wrong_expectations(expect, message):
    with pytest.raises(InputError) as error:
        ablab.experiment(BASE | {"expect": expect})
    assert message in str(error.value)


def test_expectations_belong_to_an_experiment_and_not_to_its_identity():
    plain = ablab.experiment(BASE)
    expecting = ablab.experiment(BASE | {"expect": SENTENCES[:1]})
    assert expecting.digest == plain.digest
    assert [each.sentence for each in expecting.expectations] == SENTENCES[:1]
    assert ablab.experiment(expecting.definition).expectations == expecting.expectations
    with pytest.raises(InputError, match="expect cannot be overridden"):
        ablab.experiment(BASE, "expect=[]")


def test_a_figure_may_be_a_number():
    asked = BASE | {"expect": [{"measure": "loss", "above": 1, "figure": 0.8, "source": "here"}]}
    (found,) = ablab.experiment(asked).expectations
    assert (found.figure, found.source) == ("0.8", "here")


def test_a_smaller_grid_may_be_asked_for_first():
    asked = BASE | {"expect": SENTENCES[:1]}
    assert len(ablab.experiment(asked, "model.d_model=8").expectations) == 1


def test_every_function_is_described():
    assert all(text.startswith(f"{name}(") for name, text in FUNCTIONS.items())


def test_an_error_has_a_complete_expectation_of_the_kind_that_was_begun():
    with pytest.raises(InputError) as raised:
        parse_expectation("loss is lower with model.d_model=8 than with model.d_model=16")
    assert "is lower where model.n_heads=1 than where model.n_heads=4" in str(raised.value)


@pytest.mark.parametrize("example", grammar._EXAMPLES.values())
def test_the_examples_of_errors_can_be_parsed(example):
    assert parse_expectation(example).sentence
