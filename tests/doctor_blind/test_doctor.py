"""The doctor on some of the planted bugs and healthy models; benchmarks/doctor_blind.py has all."""

import pytest

from ablab.doctor import doctor
from tests.doctor_blind import registry
from tests.doctor_blind_second import registry as second

BUGS = {bug.name: bug for bug in [*registry.BUGS, *second.BUGS]}
HEALTHY = {each.name: each for each in [*registry.HEALTHY, *second.HEALTHY]}

# The check that finds each bug, and words of its cause.
NAMED = {
    "mask only in training": ("causality", "it depends on self.training"),
    "mask sees next": ("causality", "off by one"),
    "mask without diagonal": ("forward", "entirely masked"),
    "mask reversed": ("causality", "transposed"),
    "mask after softmax": ("causality", "after the softmax"),
    "mask of zeros": ("causality", "set to zero before the softmax"),
    "float mask added": ("causality", "float tensor of ones and zeros"),
    "one head unmasked": ("causality", "head 1 is unmasked"),
    "bidirectional lstm": ("causality", "bidirectional"),
    "backward scan": ("causality", "runs backward"),
    "softmax over queries": ("attention", "over the queries"),
    "scaled twice": ("attention", "scaled twice"),
    "one head used": ("attention", "left out where the heads are merged"),
    "heads viewed": ("causality", "split or merged by view"),
    "positions of the batch": ("tables", "along the wrong axis"),
    "positions clamped": ("tables", "from position 5 on"),
    "positions not added": ("tables", "looked up and not added"),
    "positions from the end": ("length", "counted from the end"),
    "rope turns keys back": ("rotary", "opposite direction"),
    "rope over heads": ("tables", "wrong axis"),
    "no residual": ("layers", "residual (skip) connections are missing"),
    "linear mlp": ("layers", "no activation"),
    "softmax on logits": ("output", "softmax on the output"),
    "logits late": ("tokens", "shifted by one position"),
    "logits early": ("causality", "shifted by one position"),
    "tokens overwritten": ("in_place", "in place"),
    "padding row": ("gradients", "no padding in this task"),
    "tied by data": ("gradients", "tied by .data"),
    "drifting copy": ("gradients", "a copy of the embedding"),
    "init zero": ("starts", "symmetric"),
    "dropout 0.9": ("modes", "probability of dropping"),
    "draw by chunk": ("batches", "once per chunk"),
    "seeds collide": ("batches", "they collide"),
    "held-out rule": ("targets", "differently from draw()"),
}
SOME = ["llama", "no positions", "lstm", "dropout in attention", "alibi", "zero head"]


def path_of(case):
    """An import path of a class; a class without a name of its own gets one."""
    if case.factory.__module__.endswith("bugs_tasks"):
        return f"{case.factory.__module__}:{case.factory.__name__}"
    name = f"Case_{case.name.replace(' ', '_').replace('.', '_')}"
    setattr(registry, name, case.factory)
    return f"{registry.__name__}:{name}"


@pytest.mark.parametrize("name", NAMED)
def test_the_cause_of_a_bug_is_named(name):
    check, words = NAMED[name]
    report = doctor(path_of(BUGS[name]), checks=[check])
    assert any(words in finding.cause for _, finding, _ in report.findings), str(report)


@pytest.mark.parametrize("name", SOME)
def test_nothing_is_found_in_a_healthy_model(name):
    quick = sorted({check for check, _ in NAMED.values()} | {"stack", "seed", "positions"})
    report = doctor(path_of(HEALTHY[name]), checks=quick)
    assert report.healthy, str(report)
