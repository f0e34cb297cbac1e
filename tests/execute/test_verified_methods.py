"""Before a method trains, it is compared with eager training of each run alone."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import ablab
from ablab.execute import verify as room
from ablab.execute.replay import ReplayRequest, replay
from ablab.execute.setup import _verify_narrowed
from ablab.execute.verify import ApartError, Verified, verify
from ablab.experiments import experiment
from ablab.model import torch_internals
from ablab.model.torch_internals import TorchInternalsError
from ablab.train.comparison import Reference, tolerance
from ablab.train.method import SOLO, STACK, Method
from ablab.train.stack import Stack
from ablab.watching.step_statistics import StepStatistics
from tests.interpreted import interpreted  # noqa: F401
from tests.store.makers import train

CPU = torch.device("cpu")
INNERMOST = Method("stack", True, "innermost", "plain", 1)
VERSION = re.escape(torch.__version__)


@pytest.fixture(autouse=True)
def unverified(monkeypatch):
    """No program has been verified before."""
    monkeypatch.setattr(room, "_OUTCOMES", {})


def tree(name, **train):
    return {
        "name": "users-module",
        "question": "Does it train alike by every method?",
        "task": {"kind": "addition", "n_digits": 2, "target": "all"},
        "model": {"kind": f"tests.train.my_mixers:{name}"},
        "train": {"steps": 6, "batch_size": 32, "evaluate": {"every": 6, "samples": 32}} | train,
        "watch": {"statistics": []},
        "seeds": 2,
    }


def stack_of(name, method, runs=2, **train):
    return Stack(experiment(tree(name, **train)).runs[:runs], None, CPU, method)


def verified(stack, fallback=None, **options):
    told = []
    found = verify(stack, fallback, told.append, **options)
    return found, [event["text"] for event in told]


def alone(stack, steps=5):
    return np.concatenate(
        [Stack([run], None, CPU, SOLO).advance(steps).losses for run in stack.runs], axis=1
    )


@pytest.mark.parametrize("name", ["CentredInTraining", "ScaledBySize"])
@pytest.mark.parametrize("method", [INNERMOST, replace(INNERMOST, layout="usual", samples=8)])
def test_a_method_that_differs_does_not_train(name, method, interpreted):  # noqa: F811
    stack = stack_of(name, method)
    found, told = verified(stack, STACK)
    assert stack.method == STACK
    (text,) = told
    assert f"{method.title} differs from eager training of each run alone" in text
    assert re.search(r"loss \d\.\de-0\d, gradient \d\.\de.\d\d relative, where rounding", text)
    assert text.endswith(f"(torch {torch.__version__}); training by stack instead")
    assert found.fallback in text
    assert "fallback" in found.facts() and found.comparison.agrees
    np.testing.assert_allclose(stack.advance(5).losses, alone(stack), rtol=1e-5)


def test_a_method_that_agrees_trains_and_its_figures_are_kept(interpreted):  # noqa: F811
    stack = stack_of("Dropout", INNERMOST)
    found, told = verified(stack)
    assert (stack.method, told, found.fallback) == (INNERMOST, [], None)
    figures = found.facts()["verified"]
    assert 0 < figures["gradient"] < figures["tolerance"] < 1e-4
    np.testing.assert_allclose(stack.advance(5).losses, alone(stack), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "method", "reason"),
    [
        ("CentredInTraining", Method("stack", samples=4), "differs from eager training"),
        ("InPlaceCache", STACK, "the model carries state from one pass to the next"),
        ("LeadsAndFollows", Method("stack", rows=1), "the model carries state"),
        ("OwnDropout", STACK, "random operation"),
        ("Recurrent", STACK, "lstm"),
    ],
)
def test_runs_that_nothing_trains_together_are_trained_alone(name, method, reason):
    with pytest.raises(ApartError, match=reason):
        verified(stack_of(name, method))
    solo = replace(method, engine="solo", rows=None) if method.samples else method
    single = stack_of(name, solo, runs=1)
    found, (text,) = verified(single)
    assert single.method == SOLO
    assert reason in text and reason in found.fallback


def test_a_model_that_draws_its_own_dropout_is_not_compiled(interpreted):  # noqa: F811
    stack = stack_of("OwnDropout", replace(INNERMOST, engine="solo", rows=None), runs=1)
    _, (text,) = verified(stack)
    assert stack.method == SOLO and "solo, compiled, batch innermost" in text


def test_the_eager_method_of_one_run_needs_no_verification(monkeypatch):
    monkeypatch.setattr(room, "Reference", lambda stack: pytest.fail("nothing to compare"))
    assert verified(stack_of("Plain", SOLO, runs=1)) == (Verified(), [])


def test_a_program_is_compared_once_for_every_run_of_a_stack(monkeypatch):
    compared = []
    really = Reference.compare

    def compare(self, tap_reducer=None):
        compared.append(len(self.eager.losses))
        return really(self, tap_reducer)

    monkeypatch.setattr(Reference, "compare", compare)
    for _ in range(2):
        verified(stack_of("Plain", STACK))
    assert compared == [2]
    verified(stack_of("Plain", STACK, batch_size=16))
    assert compared == [2, 2]


class WrongInOne(Stack):
    """Its gradients are wrong for one run, or in steps with statistics."""

    wrong_run, only_tapped = 1, False

    def gradients_at(self, theta, batches, tap_reducer=None):
        found = super().gradients_at(theta, batches, tap_reducer)
        if not self.only_tapped or tap_reducer is not None:
            found.grad[self.wrong_run, -3:] *= 1.01
        return found


def test_one_wrong_parameter_of_one_run_is_named():
    runs = experiment(tree("Plain")).runs
    with pytest.raises(ApartError) as caught:
        verified(WrongInOne(runs, None, CPU, STACK))
    assert f"the gradient of module.out.bias of run {runs[1].id} differs" in str(caught.value)


def test_a_step_with_statistics_is_a_program_of_its_own():
    stack = WrongInOne(experiment(tree("Plain")).runs, None, CPU, STACK)
    stack.only_tapped = True
    assert verified(stack)[0].fallback is None
    with pytest.raises(ApartError, match="differs from eager"):
        verified(
            stack,
            make_collector=lambda stack: StepStatistics(
                stack, ["activation/logits/rms"], lambda step: True
            ),
        )


def test_evaluation_under_vmap_is_verified_too():
    stack = stack_of("Recurrent", Method("stack", rows=1))
    found, (text,) = verified(stack)
    assert found.fallback is None and "evaluation fails" in found.evaluation
    assert "evaluating one run at a time instead" in text
    batch = stack.task.held_out(8)
    together = stack.evaluate(batch)
    for index, run in enumerate(stack.runs):
        single = Stack([run], None, CPU, SOLO).evaluate(batch)
        np.testing.assert_allclose(together["loss"][index], single["loss"][0], rtol=1e-6)


def test_a_layer_that_starts_at_zero_hides_nothing(interpreted):  # noqa: F811
    stack = stack_of("ZeroOutput", replace(INNERMOST, samples=8))
    _, (text,) = verified(stack, STACK)
    assert "differs from eager training" in text


def test_rounding_grows_with_the_batch_and_the_precision():
    assert tolerance("float64", 512) < 1e-12 < tolerance("float32", 512) < 1e-4
    assert tolerance("float32", 8192) == pytest.approx(4 * tolerance("float32", 512))
    assert 1e-2 < tolerance("bfloat16", 512) == tolerance("bfloat16", 8192) < 5e-2


def test_a_stack_that_narrows_is_verified_again_if_its_program_is_another(monkeypatch):
    calls = []
    stack = stack_of("Plain", Method("stack", compiled=True))
    stack.narrowed = lambda: calls.append(len(stack.runs))
    stack.narrow([1])
    assert calls == [1]
    monkeypatch.setattr(
        "ablab.execute.setup.verify", lambda *_: Verified(fallback="it is too narrow")
    )
    with pytest.raises(ApartError, match="too narrow"):
        _verify_narrowed(stack, lambda event: None)
    stack.use(STACK)
    _verify_narrowed(stack, lambda event: None)  # its operations are the same at any width


def test_a_run_says_why_it_trains_eagerly_and_keeps_the_reason(tmp_path, capfd):
    asked = tree("Recurrent")
    result = train(asked, tmp_path / "lab", quiet=False, engine="stack", compile="off")
    assert [each.status for each in result.runs] == ["finished"] * 2
    assert capfd.readouterr().err.count("training eagerly, one run at a time, instead") == 1
    for each in result.runs:
        (segment,) = ablab.open(tmp_path / "lab").run(each.run).segments
        assert segment["engine"] == "solo" and "stack fails: RuntimeError" in segment["fallback"]


def test_what_torch_lacks_is_said_and_kept(tmp_path, capfd, monkeypatch):
    def compile_graph(*_):
        raise TorchInternalsError(f"torch {torch.__version__} has no compiler")

    monkeypatch.setattr(torch_internals, "compile_graph", compile_graph)
    asked = tree("Dropout", batch_size=16)
    result = train(asked, tmp_path / "lab", quiet=False, engine="stack", compile="on")
    assert [each.status for each in result.runs] == ["finished"] * 2
    err = capfd.readouterr().err
    assert len(re.findall(f"cannot be compiled: torch {VERSION} has no compiler", err)) == 1
    for each in result.runs:
        (segment,) = ablab.open(tmp_path / "lab").run(each.run).segments
        assert segment["method"] == "stack" and segment["verified"]["gradient"] < 1e-5
        assert f"torch {torch.__version__} has no compiler" in segment["fallback"]


def test_a_model_with_state_is_planned_alone_with_a_word(tmp_path, capfd):
    train(tree("InPlaceCache"), tmp_path / "lab", quiet=False)
    assert "train alone, eagerly: the model carries state" in capfd.readouterr().err


def test_a_replay_does_not_repeat_a_method_that_differs(tmp_path):
    result = train(tree("CentredInTraining"), tmp_path / "lab", engine="solo", compile="off")
    store = result.store
    run = next(each for each in result.experiment.runs if each.id == result.runs[0].run)
    (segment,) = store.segments([run.id])[run.id]
    segment["gradients"]["samples"] = 8  # as if a wrong method had been stored
    request = ReplayRequest(1, 6)
    found = replay(store, run, [segment], request, lambda step, last: None, CPU)
    assert found.methods == ["solo"] and found.agrees
    assert "8 samples a call differs from eager training" in found.notes[0]
