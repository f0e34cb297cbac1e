import numpy as np
import pytest
import torch

from ablab.config import InputError
from ablab.model.transformer_config import TransformerConfig
from ablab.train.method import SOLO, STACK, Method
from ablab.train.stack import Stack
from ablab.watching import step_statistics
from ablab.watching.columns import check_patterns, every_column
from ablab.watching.names import DEFAULT
from ablab.watching.sites import find_sites
from ablab.watching.step_statistics import StepStatistics
from tests.helpers import TEXT, make_run

CPU = torch.device("cpu")
MINE = "tests.watching.my_reducers"


def watched(runs, patterns, at=lambda step: True, method=STACK):
    stack = Stack(runs, None, CPU, method)
    stack.collector = StepStatistics(stack, patterns, at)
    return stack


def test_watching_leaves_no_trace_where_scores_and_patterns_are_not_read():
    runs = [make_run(seed) for seed in (0, 1)]
    plain = Stack(runs, None, CPU, STACK).advance(20).losses
    sites = ("*.mlp.*", "*resid*", "*.attn.[qkvz]*", "*_out", "ln_final", "logits")
    patterns = ["param/*", "grad/*", "optimizer/*", *(f"activation*/{site}/*" for site in sites)]
    stack = watched(runs, patterns)
    np.testing.assert_array_equal(
        plain, np.concatenate([stack.advance(1).losses for _ in range(20)])
    )


def test_all_positions_are_read_where_the_later_ones_alone_are_asked_for():
    model = TransformerConfig(
        n_layers=2, d_model=8, n_heads=2, position="rope", attention={"window": 4, "bias": False}
    )
    run = make_run(model=model)
    for method in (SOLO, STACK):
        found = []
        for trims in (True, False):
            stack = watched([run], ("*",), method=method)
            assert stack.objective.model.trims
            stack.objective.model.trims = trims
            stack.advance(3)
            found.append(stack.advance(1).watched)
        assert np.abs(found[1]).max() > 0
        np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-6)


def test_all_of_it_changes_no_more_than_rounding():
    model = TransformerConfig(n_layers=2, d_model=8, n_heads=2, dropout=0.1)
    runs = [make_run(seed, task=TEXT, model=model) for seed in (0, 1)]
    plain = Stack(runs, None, CPU, STACK).advance(30).losses
    stack = watched(runs, ("*",))
    found = np.concatenate([stack.advance(1).losses for _ in range(30)])
    np.testing.assert_allclose(found, plain, rtol=1e-5)


def test_run_k_of_a_stack_has_the_statistics_of_run_k_alone():
    # Without biases of keys, whose gradient is nothing but rounding: softmax does not see them.
    model = TransformerConfig(d_model=8, n_heads=2, attention={"bias": False})
    runs = [make_run(seed, model=model) for seed in range(3)]
    together = watched(runs, ("*",))
    together.advance(3)
    found = together.advance(1).watched
    for index, run in enumerate(runs):
        single = watched([run], ("*",), method=SOLO)
        single.advance(3)
        own = single.advance(1).watched
        np.testing.assert_allclose(found[index], own[0], rtol=1e-3, atol=1e-6)


def test_a_narrowed_stack_goes_on_with_its_own_previous_gradients():
    runs = [make_run(seed) for seed in range(3)]
    pattern = ("grad/*/cosine_previous",)
    stack, whole = watched(runs, pattern), watched(runs, pattern)
    for each in (stack, whole):
        each.advance(4)
    stack.narrow([0, 2])
    np.testing.assert_allclose(
        stack.advance(1).watched, whole.advance(1).watched[[0, 2]], rtol=1e-3, atol=1e-6
    )


def test_a_narrowed_stack_has_the_statistics_of_those_that_are_left():
    runs = [make_run(seed) for seed in range(3)]
    patterns = ("activation*/*", "param/*/std", "optimizer/*")
    for method in (STACK, Method("stack", samples=8)):
        stack, whole = (watched(runs, patterns, method=method) for _ in range(2))
        for each in (stack, whole):
            each.advance(3)
        stack.narrow([0, 2])
        np.testing.assert_allclose(
            stack.advance(1).watched, whole.advance(1).watched[[0, 2]], rtol=1e-3, atol=1e-6
        )


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize(
    "method", [SOLO, STACK, Method("solo", samples=5), Method("stack", samples=5)], ids=str
)
def test_the_native_function_and_torchs_operations_agree(method, precision, monkeypatch):
    model = TransformerConfig(d_model=8, n_heads=2, attention={"bias": False})
    count = 1 if method.engine == "solo" else 2
    runs = [make_run(seed, model=model, precision=precision) for seed in range(count)]
    native = watched(runs, ("*",), method=method)
    monkeypatch.setattr(step_statistics, "native_reduce", lambda: None)
    by_torch = watched(runs, ("*",), method=method)
    names = native.collector.names
    assert names == by_torch.collector.names
    for _ in range(3):
        own, right = native.advance(1).watched, by_torch.advance(1).watched
        wrong = ~np.isclose(own, right, rtol=2e-3, atol=2e-6, equal_nan=True)
        assert not wrong.any(), [(names[n], own[r, n], right[r, n]) for r, n in np.argwhere(wrong)]
    assert bool((native.theta == by_torch.theta).all())


@pytest.mark.parametrize("method", [SOLO, STACK])
def test_users_statistics_get_numbers_in_single_precision_and_build_no_graph(method):
    patterns = (f"*/*/{MINE}:spread", f"activation/*resid_post/{MINE}:probed", "param/*/rms")
    stack = watched([make_run()], (*patterns, "param/*/mean"), method=method)
    found = dict(zip(stack.collector.names, stack.advance(1).watched[0], strict=True))
    place = "param/embedding.weight"
    spread = found[f"{place}/rms"] - found[f"{place}/mean"]
    assert found[f"{place}/{MINE}:spread"] == pytest.approx(spread, rel=1e-5)
    assert any(name.startswith("activation") and "spread" in name for name in found)
    assert any("probed" in name for name in found)


def test_only_what_looks_back_is_unknown_at_the_first_step():
    stack = watched([make_run()], ("grad/*",))
    first = dict(zip(stack.collector.names, stack.advance(1).watched[0], strict=True))
    unknown = {name.rpartition("/")[2] for name, value in first.items() if np.isnan(value)}
    assert unknown == {"cosine_previous", "noise_scale"}
    assert np.isfinite(stack.advance(1).watched).all()


class Counted:
    """Counts what goes from the device to the host."""

    def __init__(self, monkeypatch):
        self.moved = 0
        for name in ("cpu", "numpy", "item", "tolist", "__bool__", "__float__", "__int__"):
            real = getattr(torch.Tensor, name)
            monkeypatch.setattr(torch.Tensor, name, self.counting(name, real))

    def counting(self, name, real):
        def method(tensor, *args, **kwargs):
            # A tensor goes to the host by one call, and then into an array by another.
            self.moved += name != "numpy"
            return real(tensor, *args, **kwargs)

        return method


@pytest.mark.parametrize("patterns", [DEFAULT, ("*",)])
def test_one_transfer_on_a_logging_step_and_none_on_others(patterns, monkeypatch):
    runs = [make_run(seed) for seed in range(4)]
    stack = watched(runs, patterns, at=lambda step: step % 10 == 0)
    stack.advance(10)
    counted = Counted(monkeypatch)
    advance = stack.advance(10)
    assert advance.watched.shape == (4, len(stack.collector.names))
    assert counted.moved == 1, "once, after the step that is logged, and never inside of a step"


def test_reducers_of_ones_own_by_import_path():
    stack = watched(
        [make_run()], (f"activation/*.mlp.post/{MINE}:largest", f"grad/*/{MINE}:second_moment")
    )
    names = stack.collector.names
    assert f"activation/blocks.0.mlp.post/{MINE}:largest" in names
    assert f"grad/embedding.weight/{MINE}:second_moment" in names
    assert not any("bias" in name for name in names), "it applies to matrices alone"
    found = dict(zip(names, stack.advance(1).watched[0], strict=True))
    rms = watched([make_run()], ("grad/embedding.weight/rms",)).advance(1).watched[0, 0]
    assert found[f"grad/embedding.weight/{MINE}:second_moment"] == pytest.approx(rms**2, rel=1e-5)


def columns(patterns):
    stack = Stack([make_run()], None, CPU, SOLO)
    sites = find_sites(stack.objective.model, CPU)
    return every_column(patterns, sites, stack.layout, stack.optimizer_state)


@pytest.mark.parametrize(
    ("pattern", "said", "suggested"),
    [
        ("activation/blocks.0.resid_psot/rms", "matches no statistic", "resid_post/rms"),
        ("grad/embedding.weight/mean_entropy", "matches no statistic", None),
        ("optimizer/momentum/*/rms", "matches no statistic", None),
        ("activation/ln_final/frac_zero", "matches no statistic", None),
        ("gradient/*/rms", "no statistic family 'gradient'", "grad"),
        ("grad/*/means", "no reducer 'means'", "mean"),
        ("grad/*/no.module:thing", "cannot import", None),
    ],
)
def test_a_pattern_that_means_nothing_is_said_to(pattern, said, suggested):
    with pytest.raises(InputError) as caught:
        check_patterns([pattern], columns([pattern]))
    text = str(caught.value)
    assert said in text
    assert suggested is None or suggested in text


def test_transformer_lens_names_are_taken():
    every = columns([])
    check_patterns(["activation/blocks.0.attn.hook_pattern/mean_entropy"], every)
    check_patterns(["activation/blocks.0.hook_resid_post/*"], every)
