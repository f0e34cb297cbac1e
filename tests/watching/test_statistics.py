"""Every statistic of a two-block model beside NumPy's float64, however the step is computed."""

from shutil import which

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ablab.experiments import experiment
from ablab.model.interventions import gradients, watch
from ablab.model.transformer_config import TransformerConfig
from ablab.train.method import SOLO, STACK, Method
from ablab.train.stack import Stack, initial_model
from ablab.watching import step_statistics
from ablab.watching.names import FAMILIES
from ablab.watching.step_statistics import StepStatistics
from tests.helpers import make_run
from tests.watching import reference

CPU = torch.device("cpu")
(OWN,) = experiment(
    {
        "name": "own", "task": {"kind": "addition"},
        "model": {"kind": "tests.model.my_modules:Averages"},
    }
).runs  # fmt: skip
MODELS = {
    # Without biases of keys, whose gradient is nothing but rounding: softmax does not see them.
    "softmax": TransformerConfig(
        n_layers=2, d_model=8, n_heads=2, position="rope", attention={"bias": False}
    ),
    "sigmoid": TransformerConfig(
        n_layers=2, d_model=8, n_heads=2, attention={"activation": "sigmoid", "qk_norm": "rms"},
        mlp={"activation": "relu"}, norm="rms",
    ),
    # As little as has an attention pattern, so that it is quickly compiled.
    "bare": TransformerConfig(
        d_model=4, n_heads=1, norm="none", residual=False, mlp=None,
        attention={"bias": False, "output_projection": False},
    ),
    "own": OWN.model,
}  # fmt: skip
SOME = {
    "bare": (
        "activation/*.attn.pattern/mean_entropy", "activation_grad/*.attn.z/mean_norm",
        "grad/model/*", "param/model/*",
    ),
    "own": ("activation/embedding/rms", "activation_grad/logits/zero_sum_error", "grad/*/rms"),
}  # fmt: skip
METHODS = {
    "solo": SOLO,
    "stack": STACK,
    "usual": Method("solo", compiled=True, attention="plain", samples=8),
    "innermost": Method("stack", compiled=True, layout="innermost", attention="plain", rows=1),
    "innermost, parts": Method("solo", True, "innermost", "plain", samples=8),
}
RUNS = {"solo": 1, "usual": 1, "stack": 3, "innermost": 2, "innermost, parts": 1}


def expected(run, theta, stack, step):
    """Sites, their gradients and the parameters' gradients at a step, in float64."""
    model = initial_model(run).train()
    views = stack.layout.views(theta[None])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(views[name][0])
    batch = stack.task.draw(run.seed, step, 1, run.train.batch_size)
    tokens, targets = torch.from_numpy(batch.tokens[0]), torch.from_numpy(batch.targets[0])

    def loss(logits):
        return F.cross_entropy(logits[:, stack.task.predicted].flatten(0, 1), targets.flatten())

    _, seen = watch(model, tokens, ["*"])
    grads = gradients(model, tokens, loss, ["*"])[1]
    logits = model(tokens)
    of_parameters = torch.autograd.grad(loss(logits), list(model.parameters()))
    named = zip([name for name, _ in model.named_parameters()], of_parameters, strict=True)
    return as_numpy(seen), as_numpy(grads), as_numpy(dict(named)), targets.numpy()


def as_numpy(tensors):
    return {name: x.detach().double().numpy() for name, x in tensors.items()}


def flat(stack, row):
    return as_numpy({name: view[0] for name, view in stack.layout.views(row[None]).items()})


def value_of(name, before, own, previous, after, optimizer_state, stack):
    """A statistic, worked out from captured tensors."""
    seen, site_grads, grads, targets = own
    family, _, rest = name.partition("/")
    place, _, reducer = rest.rpartition("/")
    if reducer in reference.OF_ANSWERS:
        x = (seen if family == "activation" else site_grads)[place][:, stack.task.predicted]
        return reference.OF_ANSWERS[reducer](x, targets)
    if reducer == "update_ratio":
        return reference.update_ratio(whole(before, place), whole(after, place))
    if reducer in ("cosine_previous", "noise_scale"):
        pair = whole(grads, place), whole(previous, place)
        more = [stack.config.batch_size] if reducer == "noise_scale" else []
        return getattr(reference, reducer)(*pair, *more)
    if family == "optimizer":
        slot, _, parameter = place.partition("/")
        x = optimizer_state[slot][parameter]
    else:
        x = {"activation": seen, "activation_grad": site_grads, "param": after, "grad": grads}[
            family
        ][place]
        if family == "activation_grad":  # what is hidden counts no more here than it does there
            x = np.where(np.isneginf(seen[place]), -np.inf, x)
    return reference.OF_TENSOR[reducer](x)


def whole(tensors, place):
    if place != "model":
        return tensors[place]
    return np.concatenate([x.reshape(-1) for x in tensors.values()])


def compare(kind, method, patterns=("*",), at=lambda step: step == 4):
    runs = [
        make_run(seed, model=MODELS[kind], lr=0.05, weight_decay=0.1, clip_norm=0.5)
        for seed in range(RUNS[method])
    ]
    stack = Stack(runs, None, CPU, METHODS[method])
    collector = StepStatistics(stack, patterns, at)
    stack.collector = collector
    stack.advance(2)
    earlier = stack.theta.clone()
    stack.advance(1)
    before = stack.theta.clone()
    found = stack.advance(1).watched
    if METHODS[method].compiled:  # and did not fall back
        assert stack._gradients._compiles_taps
    assert found is not None and np.isfinite(found).all()
    families = {name.partition("/")[0] for name in collector.names}
    assert families == set(FAMILIES) or patterns != ("*",)
    for index, run in enumerate(runs):
        own = expected(run, before[index], stack, 4)
        previous = expected(run, earlier[index], stack, 3)[2]
        state = flat(stack, before[index]), own, previous, flat(stack, stack.theta[index])
        optimizer_state = {
            name: flat(stack, slot[index]) for name, slot in stack.optimizer_state.items()
        }
        wrong = []
        for name, value in zip(collector.names, found[index], strict=True):
            right = value_of(name, *state, optimizer_state, stack)
            # A mean of numbers that cancel is rounding.
            noise = 2e-6 if name.startswith(("activation", "param")) else 2e-7
            if not np.isclose(value, right, rtol=2e-3, atol=noise):
                wrong.append((name, value, right))
        assert not wrong, wrong[:5]
    return collector.names


@pytest.fixture(params=["native", "torch"])
def row_pass(request, monkeypatch):
    """Rows are reduced by the native function, or by torch's operations."""
    if request.param == "torch":
        monkeypatch.setattr(step_statistics, "native_reduce", lambda: None)
    elif which("g++") is None:
        pytest.skip("no C++ compiler")
    else:
        assert step_statistics.native_reduce() is not None


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("method", ["solo", "stack"])
def test_eager_steps(kind, method, row_pass):
    names = compare(kind, method)
    entropies = [name for name in names if name.endswith("mean_entropy")]
    patterns = ["activation/blocks.0.attn.pattern/mean_entropy"]
    patterns += ["activation/blocks.1.attn.pattern/mean_entropy"]
    assert entropies == (patterns if kind == "softmax" else [])


@pytest.mark.parametrize(
    ("kind", "method"),
    [("bare", "usual"), ("bare", "innermost, parts"), ("own", "usual"), ("own", "innermost")],
)
def test_what_a_compiled_step_reads(kind, method, row_pass):
    # Every step is read, so that one program is compiled and not two.
    names = compare(kind, method, patterns=SOME[kind], at=lambda step: True)
    assert len(names) > len(SOME[kind])


@pytest.mark.compiled
def test_a_compiled_step_in_parts():
    patterns = ("activation/*.attn.pattern/mean_entropy", "activation*/blocks.0.resid_post/*")
    compare("softmax", "usual", patterns=(*patterns, "activation_grad/logits/zero_sum_error"))


@pytest.mark.compiled
def test_all_of_a_compiled_step_in_parts(row_pass):
    compare("softmax", "usual")


@pytest.mark.compiled
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_compiled_steps_with_the_batch_innermost(kind):
    compare(kind, "innermost")


def test_gradients_at_sites_are_finite_differences():
    model = TransformerConfig(n_layers=2, d_model=4, n_heads=2)
    run = make_run(model=model, batch_size=2, precision="float64")
    stack = Stack([run], None, CPU, SOLO)
    wanted = ("blocks.0.resid_mid", "blocks.1.attn.pattern")
    patterns = tuple(f"activation_grad/{site}/rms" for site in wanted)
    collector = StepStatistics(stack, patterns, lambda step: True)
    stack.collector = collector
    own = initial_model(run)
    batch = stack.task.draw(run.seed, 1, 1, 2)
    tokens, targets = torch.from_numpy(batch.tokens[0]), torch.from_numpy(batch.targets[0])

    def loss_at(site, index, change):
        from ablab.model.interventions import replace

        def moved(x):
            flat = x.flatten().clone()
            flat[index] += change
            return flat.view_as(x)

        logits = replace(own, tokens, {site: moved})[:, stack.task.predicted]
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()

    found = dict(zip(collector.names, stack.advance(1).watched[0], strict=True))
    for site in wanted:
        size = watch(own, tokens, [site])[1][site].numel()
        differences = [
            (loss_at(site, index, 1e-5) - loss_at(site, index, -1e-5)) / 2e-5
            for index in range(size)
        ]
        right = np.sqrt(np.mean(np.square(differences)))
        assert found[f"activation_grad/{site}/rms"] == pytest.approx(right, rel=1e-5)
