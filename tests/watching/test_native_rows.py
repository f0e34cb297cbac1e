"""The native pass over rows against NumPy in double precision, and beside torch's operations."""

from shutil import which

import numpy as np
import pytest
import torch

from ablab.train.parameter_layout import ParameterLayout
from ablab.watching.native_rows import NativeRows, finished_sums, native_reduce
from ablab.watching.parameter_rows import NativeParameterRows, TorchParameterRows
from ablab.watching.rows import PARTS, EagerRows, TracedRows, rows_from
from ablab.watching.site_sums import NativeSums, TorchSums

ALL = frozenset(PARTS)
pytestmark = pytest.mark.skipif(which("g++") is None, reason="no C++ compiler")


def expected(x, hides=False):
    """Each run's numbers, by NumPy, from the tensor (W, …, D)."""
    x = x.detach().double().numpy()
    if hides:
        x = np.where(x == -np.inf, 0.0, x)
    rows = x.reshape(x.shape[0], -1, x.shape[-1])
    norms = np.sqrt((rows**2).sum(-1))
    return {
        "mean_norm": norms.mean(1),
        "max_norm": norms.max(1),
        "min_norm": norms.min(1),
        "squares": (rows**2).sum((1, 2)),
        "total": rows.sum((1, 2)),
        "largest": np.abs(rows).max((1, 2)),
        "zeros": (rows == 0).sum((1, 2)),
    }


def found(x, parts=ALL, hides=False):
    sums = NativeRows(native_reduce()).reduce(x, parts, hides)["sums"]
    return {name: value.numpy() for name, value in finished_sums(sums).items()}


def check(x, hides=False):
    own, right = found(x, hides=hides), expected(x, hides)
    scale = np.sqrt(right["squares"] * x[0].numel())  # of a sum whose terms cancel
    for name, value in right.items():
        atol = 1e-6 * scale.max() if name == "total" else 0.0
        np.testing.assert_allclose(own[name], value, rtol=3e-6, atol=atol, err_msg=name)


def draws(*shape, seed=0):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(x.abs() < 0.1, 0.0, x)


@pytest.mark.parametrize("width", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 4096, 5003])
@pytest.mark.parametrize("rows", [1, 5, 513])
def test_any_width_and_any_number_of_rows(width, rows):
    if width * rows < 300_000:
        check(draws(2, rows, width))


def test_any_order_of_the_axes():
    x = draws(3, 6, 5, 4, 24)
    for order in (
        (0, 1, 2, 3, 4),
        (0, 3, 1, 2, 4),
        (2, 1, 0, 3, 4),
        (0, 1, 2, 4, 3),
        (4, 3, 2, 1, 0),
    ):
        check(x.permute(order))
    check(x[:, 1::2, :, 2:, ::3])
    check(x[:, ::2, 1:4, :, 3:19])
    check(x[:, :, 0])


def test_axes_that_are_expanded():
    x = draws(1, 1, 7, 40)
    check(x.expand(3, 5, 7, 40))
    check(draws(2, 1, 40)[:, :, None].expand(2, 1, 9, 40))


def test_many_axes_and_few():
    check(draws(2, 2, 3, 2, 2, 3, 2, 2, 2, 9))
    one_number_per_sample = draws(2, 50)
    own = found(one_number_per_sample)
    np.testing.assert_allclose(own["mean_norm"], one_number_per_sample.abs().mean(1), rtol=1e-6)
    np.testing.assert_allclose(own["max_norm"], one_number_per_sample.abs().amax(1), rtol=1e-6)


def test_other_kinds_of_numbers():
    x = draws(2, 30, 24)
    for kind in (torch.bfloat16, torch.float16, torch.float64):
        check(x.to(kind))
    check((x * 10).to(torch.int32))
    check((x > 0).to(torch.bool))


@pytest.mark.parametrize("scale", [1e-50, 1e40, 1e100])
def test_double_precision_keeps_its_range(scale):
    check(draws(2, 3, 30, 24).double() * scale)


def test_hidden_entries_count_as_zeros():
    x = draws(2, 4, 40, 40)
    hidden = torch.ones(40, 40, dtype=torch.bool).triu(1)
    check(torch.where(hidden, -torch.inf, x), hides=True)
    eager = EagerRows().reduce(torch.where(hidden, -torch.inf, x), ALL, hides=True)
    zeros = found(torch.where(hidden, -torch.inf, x), hides=True)["zeros"]
    np.testing.assert_array_equal(zeros, eager["zeros"].sum(1))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("place", [0, 3, 1900, -1])
def test_what_is_not_finite_is_said_as_torch_says_it(bad, place):
    x = draws(2, 100, 20)
    x[1].view(-1)[place] = bad
    own, eager = found(x), EagerRows().reduce(x, ALL)
    norms = eager["norms"]
    torch_says = {
        "max_norm": norms.amax(1), "min_norm": norms.amin(1), "mean_norm": norms.mean(1),
        "largest": eager["largest"][:, 0], "total": eager["total"].sum(1),
    }  # fmt: skip
    for name, value in torch_says.items():
        np.testing.assert_allclose(own[name], value, rtol=1e-5, atol=1e-4, err_msg=name)


def test_a_large_sum_of_small_terms_keeps_its_digits():
    x = torch.full((1, 3_000, 1_000), 0.1)
    for shaped in (x, x.reshape(1, 100, 30_000), x.reshape(1, 60_000, 50)):
        own = found(shaped)
        assert own["total"][0] == pytest.approx(3e6 * float(np.float32(0.1)), rel=3e-7)
        assert own["squares"][0] == pytest.approx(3e6 * float(np.float32(0.1)) ** 2, rel=3e-7)


@pytest.mark.parametrize("width", [3, 8, 64, 65])
def test_entropies(width):
    scores = draws(2, 4, 50, width, seed=1) * 3
    hidden = torch.ones(50, width, dtype=torch.bool).triu(width // 2)
    pattern = torch.where(hidden, -torch.inf, scores).softmax(-1).nan_to_num()
    pattern[0, 0, 0] = 0.0
    pattern[0, 0, 0, 1] = 1.0
    p = pattern.double().numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log(p), 0.0)
    right = -terms.sum(-1).reshape(2, -1).mean(1)
    own = found(pattern, ALL | {"mean_entropy"})
    np.testing.assert_allclose(own["mean_entropy"], right, rtol=1e-6)
    np.testing.assert_allclose(own["squares"], (p**2).sum((1, 2, 3)), rtol=1e-6)


@pytest.mark.parametrize("width", [300, 1_000, 4_096, 50_000, 2_000_000])
def test_entropies_of_wide_uniform_rows(width):
    pattern = torch.full((1, 2, width), 1 / width)
    own = found(pattern, frozenset({"mean_entropy"}))["mean_entropy"]
    np.testing.assert_allclose(own, [np.log(width)], rtol=1e-6)


def test_logarithms_from_the_least_normal_number_to_one():
    p = torch.logspace(-37.8, 0, 4_000, dtype=torch.float64).to(torch.float32).reshape(1, 500, 8)
    own = found(p, frozenset({"mean_entropy"}))["mean_entropy"] * 500
    right = -(p.double() * p.double().log()).sum()
    np.testing.assert_allclose(own, [right], rtol=1e-6)


def test_no_number_depends_on_the_threads():
    x = draws(3, 40, 300, 24)
    given = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(NativeRows(native_reduce()).reduce(x, ALL)["sums"])
    finally:
        torch.set_num_threads(given)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_a_pass_over_other_tensors_of_the_same_layout_does_not_mix_them():
    rows = NativeRows(native_reduce())
    a, b = draws(2, 9, 16, seed=1), draws(2, 9, 16, seed=2)
    first, second = rows.reduce(a, ALL)["sums"], rows.reduce(b, ALL)["sums"]
    assert torch.equal(rows.reduce(a, ALL)["sums"], first) and not torch.equal(first, second)


SHAPES = {"embed": (11, 24), "bias": (24,), "up": (96, 24), "scale": (), "wide": (2, 3, 5_000)}


def parameters(seed=0, runs=2):
    shapes = tuple(torch.Size(shape) for shape in SHAPES.values())
    layout = ParameterLayout(tuple(SHAPES), shapes, ())
    size = sum(int(np.prod(shape)) for shape in SHAPES.values())
    return layout, draws(runs, size, seed=seed)


def both(layout):
    native = NativeParameterRows(layout, native_reduce())
    return native, TorchParameterRows(layout, torch.device("cpu"))


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e15])
def test_parameters_in_flat_rows(scale):
    layout, flat = parameters()
    _, other = parameters(seed=1)
    flat, other = flat * scale, other * scale + 3 * scale
    for each in both(layout):
        rows = each.rows([flat, other], ALL)
        for number, tensor in enumerate((flat, other)):
            for place, (name, x) in enumerate(layout.views(tensor).items()):
                x = x.double().numpy().reshape(2, -1, x.shape[-1] if x.ndim > 1 else 1)
                norms = np.sqrt((x**2).sum(-1))
                right = {
                    "mean_norm": norms.mean(1), "max_norm": norms.max(1),
                    "min_norm": norms.min(1), "rms": np.sqrt((x**2).mean((1, 2))),
                    "mean": x.mean((1, 2)), "std": x.std((1, 2)),
                    "largest": np.abs(x).max((1, 2)), "zeros": (x == 0).mean((1, 2)),
                }  # fmt: skip
                for what, value in right.items():
                    own = getattr(rows, what)[:, number, place].numpy()
                    where = f"{type(each).__name__} {name} {what}"
                    floor = 1e-4 if what == "std" else 1e-5
                    np.testing.assert_allclose(
                        own, value, rtol=floor, atol=2e-5 * scale, err_msg=where
                    )


def test_squares_and_products_of_parameters():
    layout, a = parameters()
    _, b = parameters(seed=1)
    for each in both(layout):
        squares, dot = each.squares([a, b]), each.dot(a, b)
        for place, (x, y) in enumerate(
            zip(layout.views(a).values(), layout.views(b).values(), strict=True)
        ):
            x, y = x.double().reshape(2, -1), y.double().reshape(2, -1)
            np.testing.assert_allclose(squares[:, 0, place], x.square().sum(1), rtol=1e-5)
            np.testing.assert_allclose(squares[:, 1, place], y.square().sum(1), rtol=1e-5)
            np.testing.assert_allclose(dot[:, place], (x * y).sum(1), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("scale", [1e-30, 1e-24, 3e-22, 1.0, 1e18, 1e25])
def test_the_cosine_of_a_gradient_with_itself_is_one(scale):
    layout, flat = parameters()
    native, _ = both(layout)
    flat = flat * scale
    cosine = native.dot(flat, flat) / native.squares([flat])[:, 0]
    np.testing.assert_allclose(cosine, np.ones((2, len(SHAPES))), rtol=1e-6)


def test_parameters_of_a_tensor_that_is_not_contiguous():
    layout, flat = parameters(runs=4)
    native, _ = both(layout)
    whole = native.rows([flat[::2].clone()], ALL)
    assert torch.equal(native.rows([flat[::2]], ALL).rms, whole.rms)


def test_places_are_finished_as_by_torch():
    places = ["a", "b", "c", "unreached"]
    tensors = {"a": draws(2, 50, 24), "b": draws(2, 50, 24, seed=1), "c": draws(2, 7, 3, 9)}
    parts = {"a": ALL, "b": frozenset({"norms", "total"}), "c": frozenset({"largest", "norms"})}
    tapped = {
        f"{place}|{part}": value
        for place, x in tensors.items()
        for part, value in TracedRows().reduce(x, parts[place]).items()
    }
    native, torch_sums = NativeSums(native_reduce(), places), TorchSums(places)
    for _ in range(2):
        own, right = native.of(tapped), torch_sums.of(tapped)
        assert set(right) <= set(own)
        for name, value in right.items():
            assert bool(own[name][:, 3].isnan().all())
            np.testing.assert_allclose(own[name], value, rtol=1e-5, atol=1e-4, err_msg=name)
        tapped = {name: value[:1] for name, value in tapped.items()}  # a run has ended


def test_values_of_parts_that_lie_apart_are_read_in_their_order():
    norms = draws(2, 40).abs()
    apart = torch.stack([norms, norms + 1], dim=-1)[..., 0]
    assert not apart.is_contiguous()
    native = NativeSums(native_reduce(), ["a"])
    own = native.of({"a|norms": apart})
    np.testing.assert_allclose(own["max_norm"][:, 0], norms.amax(1))
    np.testing.assert_allclose(own["squares"][:, 0], norms.double().square().sum(1), rtol=1e-6)


def test_values_of_equal_shape_at_another_place_or_in_another_order_are_not_mixed_up():
    native = NativeSums(native_reduce(), ["a", "b"])
    norms = draws(2, 4).abs()
    first = native.of({"a|norms": norms})["max_norm"]
    other = native.of({"b|norms": norms})["max_norm"]
    assert torch.equal(first[:, 0], other[:, 1]) and bool(other[:, 0].isnan().all())
    expanded = torch.arange(2.0)[:, None].expand(2, 4)
    assert native.of({"a|norms": expanded})["max_norm"][:, 0].tolist() == [0.0, 1.0]
    half = native.of({"a|norms": norms.to(torch.bfloat16)})["max_norm"][:, 0]
    np.testing.assert_allclose(half, norms.amax(1), rtol=1e-2)


def test_norms_that_are_not_numbers():
    norms = draws(2, 400).abs()
    norms[0, 333] = torch.nan
    own = NativeSums(native_reduce(), ["a"]).of({"a|norms": norms})
    assert bool(own["max_norm"][0].isnan()) and bool(own["min_norm"][0].isnan())
    assert own["max_norm"][1] == norms[1].amax()


def test_native_rows_are_what_reducers_need():
    x = draws(2, 60, 24)
    sums = NativeRows(native_reduce()).reduce(x, ALL)["sums"]
    rows = rows_from(finished_sums(sums), torch.tensor(60 * 24.0))
    np.testing.assert_allclose(rows.std, x.double().std((1, 2), correction=0), rtol=1e-5)
    np.testing.assert_allclose(rows.zeros, (x == 0).double().mean((1, 2)), rtol=1e-6)
